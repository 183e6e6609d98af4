"""Samples here with a peer's environments: a thread that steps them with an `EnvRunner`. An `Occupant`.

seat ---- ask, offer, states ----> orders ---> thread: EnvRunner over RemoteVector ---> seat
          (any thread)                                                                  ready, fragment,
peer ---- deliver, leave --------> vector ---'                                          failed, gone
          (network's thread)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Protocol, TypeAlias

from outrider.envrunner.batched_policy import Member
from outrider.envrunner.remote_vector import PeerGoneError, PeerMisbehavedError, RemoteVector
from outrider.envrunner.runner import EnvRunner
from outrider.envrunner.weights_loading import load_newer
from outrider.transport import FragmentReference, LocalFragment, WeightsReference

_LOGGER = logging.getLogger("outrider.envrunner")
_Order: TypeAlias = Callable[[EnvRunner], None]


class Reports(Protocol):
    """Whom a runner tells what it has done: its seat."""

    def ready(self) -> None:
        """Fragments can be asked for."""
        ...

    def fragment(self, sequence: int, fragment: FragmentReference) -> None:
        """Answer an `ask`."""
        ...

    def failed(self, sentence: str) -> None:
        """It failed in a way that would come again."""
        ...

    def gone(self, sentence: str) -> None:
        """Its peer is not there any more."""
        ...


class ActingRunner:
    """Plays the environments of one peer. Nothing of it is called for long but by its own thread."""

    def __init__(
        self, name: str, vector: RemoteVector, policy: Member, *, dismiss: Callable[[str], None]
    ) -> None:
        """Take the peer's copies and a policy; `dismiss` sends a peer that misbehaved away."""
        self._name = name
        self._vector = vector
        self._policy = policy
        self._dismiss = dismiss
        self._offered: WeightsReference | None = None
        self._orders: SimpleQueue[_Order] = SimpleQueue()
        self._is_stopped = False

    @property
    def name(self) -> str:
        """For operators."""
        return self._name

    def start(self, make: Callable[[RemoteVector, Member], EnvRunner], reports: Reports) -> None:
        """Begin: make the runner, which may block, in the thread."""
        threading.Thread(
            target=self._run, args=(make, reports), name=f"outrider-act {self._name}", daemon=True
        ).start()

    def ask(self, sequence: int, weights: WeightsReference | None) -> None:
        """Queue a request for a fragment."""
        self._orders.put(lambda runner: self._sample(runner, sequence, weights))

    def offer(self, weights: WeightsReference) -> None:
        """Let newer weights act from the next fragment on that is asked for without others."""
        self._offered = weights

    def get_state(self, timeout_s: float) -> Mapping[str, Any]:
        """Return the runner's state, which leaves out where the peer's episodes are."""
        return self._call(lambda runner: runner.get_state(), timeout_s)

    def set_state(self, state: Mapping[str, Any], timeout_s: float) -> None:
        """Let the runner go on from a state, with the episodes that the peer is in."""
        self._call(lambda runner: runner.set_state(state), timeout_s)

    def stop(self, sentence: str) -> None:
        """End the thread without a word to the seat."""
        self._is_stopped = True
        self.leave(sentence)

    def leave(self, sentence: str) -> None:
        """End the thread, because the peer is not there any more."""
        self._vector.cut(sentence)

        def end(_: EnvRunner) -> None:
            raise PeerGoneError(sentence)

        self._orders.put(end)

    def _run(self, make: Callable[[RemoteVector, Member], EnvRunner], reports: Reports) -> None:
        self._reports = reports
        try:
            runner = make(self._vector, self._policy)
            reports.ready()
            while True:
                self._orders.get()(runner)
        except PeerMisbehavedError as error:
            self._dismiss(str(error))
            self._tell(reports.gone, f"it was sent away: {error}")
        except PeerGoneError as error:
            self._tell(reports.gone, str(error))
        except Exception as error:
            _LOGGER.exception("%s cannot be acted for", self._name)
            sentence = f"acting for {self._name} failed: {type(error).__name__}: {error}"
            self._dismiss(sentence)
            self._tell(reports.failed, sentence)
        finally:
            self._policy.leave()

    def _sample(self, runner: EnvRunner, sequence: int, weights: WeightsReference | None) -> None:
        load_newer(runner, self._offered if weights is None else weights)
        with self._policy.sampling():
            fragment = runner.sample()
        self._reports.fragment(sequence, LocalFragment(fragment))

    def _tell(self, report: Callable[[str], None], sentence: str) -> None:
        if not self._is_stopped:
            report(sentence)

    def _call(self, call: Callable[[EnvRunner], Any], timeout_s: float) -> Any:  # noqa: ANN401 - a tree
        """Let the thread do something between two fragments, and wait for it."""
        answer: Future[Any] = Future()

        def order(runner: EnvRunner) -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(call(runner))
                except Exception as error:  # noqa: BLE001 - raised where it is waited for
                    answer.set_exception(error)

        self._orders.put(order)
        try:
            return answer.result(timeout_s)
        except TimeoutError:
            answer.cancel()
            raise TimeoutError(f"{self._name} did not answer within {timeout_s:g} s") from None
