"""Samples here with a peer's environments: a thread that steps them with an `EnvRunner`. An `Occupant`.

seat ---- assign, ask, states, stop ---> orders ---> thread: EnvRunner over RemoteVector ---> Seated
          (any thread)                                                       ready, fragment, gone, failed
peer ---- deliver, leave --------------> vector ---'
          (network's thread)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeAlias

from outrider.envrunner.gateway.remote_vector import (
    PeerGoneError,
    PeerLeftError,
    PeerMisbehavedError,
    RemoteVector,
)
from outrider.envrunner.gateway.seats import Seated
from outrider.envrunner.policies.batched_policy import Member
from outrider.envrunner.policies.weights_loading import load_newer
from outrider.envrunner.sampling.runner import EnvRunner
from outrider.transport import LocalFragment, WeightsReference
from outrider.wire import Bytes
from outrider.wire.session import Goodbye, GoodbyeReason

_LOGGER = logging.getLogger("outrider.envrunner")
MakeRunner: TypeAlias = Callable[[int, int], EnvRunner]
"""Takes the number of a seat and its incarnation."""


class ActingRunner:
    """Plays the environments of one peer. Whatever takes long is done by its own thread."""

    def __init__(
        self,
        name: str,
        vector: RemoteVector,
        policy: Member,
        make: MakeRunner,
        *,
        dismiss: Callable[[Goodbye], None],
    ) -> None:
        """Take the peer's copies, and what makes a runner over them that acts with `policy`.

        `dismiss` sends the peer away and returns at once.
        """
        self.name = name
        self._vector = vector
        self._policy = policy
        self._make = make
        self._dismiss = dismiss
        self._runner: EnvRunner
        self._seated: Seated
        self._offered: WeightsReference | None = None
        self._orders: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def start(self, seated: Seated) -> None:
        """Begin to follow what was asked for, also before this, and tell the seat."""
        self._seated = seated
        threading.Thread(target=self._run, name=f"outrider acts for {self.name}", daemon=True).start()

    def assign(self, index: int, incarnation: int) -> None:
        """Let the runner be made."""
        self._orders.put(lambda: self._begin(index, incarnation))

    def ask(self, sequence: int, weights: WeightsReference | None) -> None:
        """Let a fragment be sampled."""
        self._orders.put(lambda: self._sample(sequence, weights))

    def offer(self, weights: WeightsReference) -> None:
        """Let newer weights act from the next fragment on that is asked for without others."""
        self._offered = weights

    def get_state(self, timeout_s: float) -> Mapping[str, Any]:
        """Return the runner's state, which does not say where the peer's episodes are."""
        state: Mapping[str, Any] = self._call(self._runner.get_state, timeout_s)
        return state

    def set_state(self, state: Mapping[str, Any], timeout_s: float) -> None:
        """Let the runner go on from a state, with the episodes that the peer is in."""
        self._call(lambda: self._runner.set_state(state), timeout_s)

    def recast(self, cast: Sequence[Bytes]) -> None:
        """Never happens: a run with several agents acts for nobody."""
        raise AssertionError("one policy acts for this environment")

    def stop(self, goodbye: Goodbye) -> None:
        """Send the peer away and end."""
        self._dismiss(goodbye)
        self.leave(PeerGoneError(goodbye.sentence))

    def leave(self, end: PeerGoneError) -> None:
        """End, because the peer is not there any more."""
        self._vector.cut(end)
        self._orders.put(self._vector.require_peer)

    def _run(self) -> None:
        try:
            while True:
                self._orders.get()()
        except PeerMisbehavedError as error:
            self._dismiss(Goodbye(reason=GoodbyeReason.MISBEHAVED, sentence=str(error)))
            self._seated.gone(f"it was sent away: {error}")
        except PeerLeftError as error:
            self._seated.leaving(str(error))
            self._seated.gone(str(error))
        except PeerGoneError as error:
            self._seated.gone(str(error))
        except Exception as error:
            _LOGGER.exception("%s cannot be acted for", self.name)
            sentence = f"{type(error).__name__}: {error}"
            told = f"acting for {self.name} failed: {sentence}"
            self._dismiss(Goodbye(reason=GoodbyeReason.FAILED, sentence=told))
            self._seated.failed(sentence)
        finally:
            self._policy.leave()

    def _begin(self, index: int, incarnation: int) -> None:
        self._runner = self._make(index, incarnation)
        self._seated.ready()

    def _sample(self, sequence: int, weights: WeightsReference | None) -> None:
        load_newer(self._runner, self._offered if weights is None else weights)
        with self._policy.sampling():
            fragment = self._runner.sample()
        self._seated.fragment(sequence, LocalFragment(fragment))

    def _call(self, call: Callable[[], Any], timeout_s: float) -> Any:  # noqa: ANN401 - a tree
        """Let the thread do something between two fragments, and wait for it."""
        answer: Future[Any] = Future()

        def order() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(call())
                except Exception as error:  # noqa: BLE001 - raised where it is waited for
                    answer.set_exception(error)

        self._orders.put(order)
        try:
            return answer.result(timeout_s)
        except PeerGoneError as error:
            raise ConnectionError(str(error)) from error
        except TimeoutError:
            answer.cancel()
            raise TimeoutError(f"{self.name} did not answer within {timeout_s:g} s") from None
