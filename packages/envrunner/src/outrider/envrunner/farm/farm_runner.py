"""One runner of a farm: dials a gateway, samples what it asks for, and dials again where it is gone.

dialling thread     dial ... wait until closed ... pause ... dial
network's thread    messages of the connection --> FarmSession
main thread         FarmSession --> make a runner, sample, hand in --> FarmSession
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.environments.restarts import EnvironmentsFailedError
from outrider.envrunner.farm.dial_again import BackOff
from outrider.envrunner.farm.farm_ending import Ended, Ending
from outrider.envrunner.farm.farm_session import FarmSession
from outrider.envrunner.farm.farm_work import AbandonedError, Assigned, Sample, StateWanted, Witness
from outrider.envrunner.gateway.team_message import FROM_THE_RUN
from outrider.envrunner.policies.fetched_policies import FetchPolicies
from outrider.envrunner.policies.weights_selection import ON_DEMAND
from outrider.envrunner.sampling.runner_protocol import SamplingRunner
from outrider.transport.connection import Connection, DialError, Receiver
from outrider.wire import (
    Weights,
    all_parts,
    decode_tree,
    decode_weights,
    encode_fragment,
    encode_tree,
    session,
)
from outrider.wire.session import Goodbye, GoodbyeReason

SERVICE = "outrider.wire.v1.RunnerService/Sample"
_LOGGER = logging.getLogger("outrider.envrunner")
_GOODBYES = {
    Ending.FAILED: GoodbyeReason.FAILED,
    Ending.UNUSABLE: GoodbyeReason.FAILED,
    Ending.REFUSED: GoodbyeReason.REFUSED,
}
"""What is said where it is not that nothing is wrong."""


class RunnerWitness(Witness, Protocol):
    """Who wants to know what a runner does."""

    def sampled(self, num_env_steps: int, version: int) -> None:
        """A fragment of so many environment steps was handed in; the newest weights in it have `version`."""
        ...

    def waits(self, sentence: str) -> None:
        """There is no gateway, and it will be looked for again."""
        ...


class RefusedSettingsError(ValueError):
    """Raised where the gateway asks for what this release does not know."""


MakeRunner = Callable[[session.Assignment, memoryview, FetchPolicies | None], SamplingRunner]
"""From an assignment and what is attached to it, and what fetches policies where the gateway answers that.
Raises ValueError where it cannot be."""


class FarmRunner:
    """Takes part in a run until somebody ends it."""

    def __init__(
        self,
        dial: Callable[[Receiver], Connection],
        make: MakeRunner,
        farm_session: FarmSession,
        witness: RunnerWitness,
        *,
        give_up_after_s: float,
        back_off: BackOff | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Do nothing yet. Without a gateway for `give_up_after_s` it ends."""
        self._dial = dial
        self._make = make
        self._session = farm_session
        self._witness = witness
        self._give_up_after_s = give_up_after_s
        self._back_off = back_off or BackOff()
        self._clock = clock
        self._runner: SamplingRunner | None = None
        self._compression: Any = "none"
        self._num_team_steps: int | None = None
        """Environment steps in a fragment; None: as many as it has rows, as there is one agent."""

    def run(self) -> Ended:
        """Sample until the end, on the calling thread."""
        threading.Thread(target=self._keep_connected, name="outrider-dial", daemon=True).start()
        try:
            ended = self._work()
        finally:
            if self._runner is not None:
                self._runner.close()
        reason = _GOODBYES.get(ended.ending, GoodbyeReason.DONE)
        self._session.part(Goodbye(reason=reason, sentence=ended.sentence))
        return ended

    def _work(self) -> Ended:
        while True:
            work = self._session.next_work()
            try:
                match work:
                    case Ended():
                        return work
                    case Assigned():
                        self._begin(work)
                    case Sample():
                        self._sample(work)
                    case StateWanted():
                        self._tell_or_take_state(work)
            except RefusedSettingsError as error:
                self._session.end(Ending.REFUSED, str(error))
            except Exception as error:
                _LOGGER.debug("the runner failed", exc_info=True)
                self._session.end(Ending.FAILED, _sentence(error))

    def _begin(self, work: Assigned) -> None:
        """Make the runner, after the end of an earlier one."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None
        wanted = work.assignment.settings.get("fragment_compression", "none")
        self._compression = wanted if wanted in work.capabilities else "none"
        told = work.assignment
        self._num_team_steps = None if told.team is None else told.num_environments * told.num_steps
        fetch = partial(self._fetch, work.life) if ON_DEMAND in work.capabilities else None
        self._runner = self._make(work.assignment, work.graph, fetch)
        self._session.ready(work.life)

    def _sample(self, work: Sample) -> None:
        assert self._runner is not None, "a gateway assigns before it asks"
        if work.weights is not None:
            self._runner.set_weights(decode_weights(work.weights))
        try:
            fragment = self._runner.sample()
        except AbandonedError:
            return
        frame = encode_fragment(fragment, compression=self._compression)
        self._session.deliver(work.life, work.sequence, frame.pieces())
        self._witness.sampled(
            fragment.num_rows if self._num_team_steps is None else self._num_team_steps,
            max(int(part.policy_version.max()) for part in all_parts(fragment)),
        )

    def _fetch(self, life: int, wanted: NDArray[np.int32], dropped: NDArray[np.int32]) -> Weights:
        return decode_weights(self._session.policies(life, wanted.tolist(), dropped.tolist()))

    def _tell_or_take_state(self, work: StateWanted) -> None:
        assert self._runner is not None, "a gateway assigns before it asks"
        try:
            if work.state is None:
                pieces = encode_tree(self._runner.get_state()).pieces()
                self._session.answer(work.life, work.request, pieces)
                return
            self._runner.set_state(decode_tree(work.state, FROM_THE_RUN))
            self._session.forget_weights()
            self._session.answer(work.life, work.request)
        except Exception as error:  # noqa: BLE001 - an environment's state is the user's; told to the run
            self._session.answer(work.life, work.request, error=f"{type(error).__name__}: {error}")

    def _keep_connected(self) -> None:
        """Dial, again and again where it helps."""
        try:
            last_seen = self._clock()
            while True:
                cause = self._connect_once()
                if self._session.was_welcome():
                    last_seen = self._clock()
                    self._back_off.succeed()
                away_s = self._clock() - last_seen
                if away_s >= self._give_up_after_s:
                    self._session.end(
                        Ending.GAVE_UP,
                        f"there was no gateway for {away_s:.0f} s, which is longer than "
                        f"--give-up-after {self._give_up_after_s:g}: {cause}",
                    )
                pause_s = min(self._back_off.next_s(), max(0.0, self._give_up_after_s - away_s))
                if cause:
                    self._witness.waits(f"{cause}; trying again in {max(0.1, pause_s):.1f} s")
                if not self._session.pause(pause_s):
                    return
        except Exception as error:
            self._session.end(Ending.FAILED, f"{type(error).__name__}: {error}")
            raise

    def _connect_once(self) -> str:
        """Dial and wait until the connection is closed again. Returns why there is none yet."""
        try:
            self._dial(self._session)
        except DialError as error:
            if not error.is_final:
                return str(error)
            self._session.end(Ending.REFUSED, str(error))
            return ""
        self._session.wait_until_closed()
        return ""


def _sentence(error: Exception) -> str:
    is_ours = isinstance(error, ValueError | EnvironmentsFailedError)
    return str(error) if is_ours else f"{type(error).__name__}: {error}"
