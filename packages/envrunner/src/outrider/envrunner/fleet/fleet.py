"""Runners in other processes from which every update gets a fixed set of fragments. A `RunnerPool`.

sample(w1)   ask all with w1 ----- they sample ----- return
sample(w2)   ask all with w2 ----- they sample ----- return

with sample_ahead, runners sample while the learners learn:

sample(w1)   ask all with w1, wait; ask all with w1, return
sample(w2)   wait for what w1 sampled; ask all with w2, return

Where runners come by themselves and more are up than `num_env_runners`, an update takes the first so many
fragments, and the others join the next one.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.fleet.casting import Casting
from outrider.envrunner.fleet.pool import PoolStatistics, WaitInterruptedError, as_array, check_num_states
from outrider.envrunner.fleet.remote_runners import RemoteRunners
from outrider.envrunner.fleet.roster import Roster
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.weights_loading import LostWeightsError
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.transport import FragmentReference, LocalFragment, WeightsReference
from outrider.wire import decode_fragment, encode_fragment

_LOGGER = logging.getLogger("outrider.envrunner")
_LOOK_S = 0.5
"""How soon a wait for runners that are not there yet notices that it was interrupted."""


class RunnerFleet:
    """Asks all runners at once, waits for no straggler beyond `sample_timeout_s`, makes lost ones anew."""

    def __init__(
        self,
        remote: RemoteRunners,
        settings: EnvRunnerSettings,
        *,
        num_steps: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take over the runners and start them, without waiting; a fragment has `num_steps` vector steps."""
        self._remote = remote
        self._settings = settings
        self._clock = clock
        num_rows = num_steps * settings.num_envs_per_env_runner
        self._roster = Roster(remote, settings, num_rows=num_rows, clock=clock)
        self._casting = Casting(remote, self._roster, timeout_s=2 * settings.sample_timeout_s)
        self._awaited: set[int] = set()
        self._late: set[int] = set()
        self._arrived: list[tuple[int, FragmentReference]] = []
        self._num_late_fragments = 0
        self._num_wanted = settings.num_env_runners or remote.num_runners
        self._num_asks = 0
        self._is_interrupted = False
        self._last_asked = dict.fromkeys(range(remote.num_runners), 0)

    def sample(self, weights: WeightsReference) -> list[FragmentReference]:
        """Return one fragment of every runner that answers in time, and of those that were late before.

        A runner that is lost meanwhile is not waited for, unless there is no other.
        """
        self._receive(0.0)
        self._gather()
        if not self._settings.sample_ahead or not (self._awaited or self._arrived):
            self._ask(weights)
        self._wait(weights)
        num_taken = self._num_wanted if self._has_more_than_wanted else len(self._arrived)
        taken, self._arrived = self._arrived[:num_taken], self._arrived[num_taken:]
        fragments = [fragment for _, fragment in sorted(taken, key=lambda each: each[0])]
        if self._settings.sample_ahead:
            self._ask_ahead(weights)
        return fragments

    def recast(self, cast: Cast) -> None:
        """Let all runners act with other policies, from the next fragment on that they are asked for.

        Raises ValueError for what they cannot be told.
        """
        self._casting.change(cast)

    def interrupt(self) -> None:
        """Wait no more for runners that have not started."""
        self._is_interrupted = True

    def statistics(self) -> PoolStatistics:
        """Return the counts so far."""
        return replace(self._roster.statistics(), num_late_fragments=self._num_late_fragments)

    def get_state(self) -> dict[str, Any]:
        """Return the runners' states, None for one that is down, after what they are asked for has come.

        Fragments that have come and that `sample` has not returned are in it too.
        """
        self._become_idle()
        return {
            "incarnations": self._roster.incarnations,
            "runners": [self._state_of(index) for index in range(self._remote.num_runners)],
            "fragments": [
                {"runner": index, "fragment": message}
                for index, fragment in self._arrived
                if (message := _message_of(fragment)) is not None
            ],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned. A runner whose state is None starts afresh."""
        check_num_states(state["runners"], self._remote.num_runners)
        fresh = self._roster.expect([incarnation + 1 for incarnation in state["incarnations"]])
        self._gather()
        self._become_idle()
        self._arrived = [
            (each["runner"], LocalFragment(decode_fragment(each["fragment"].tobytes())))
            for each in state["fragments"]
        ]
        for index, (incarnation, runner) in enumerate(
            zip(state["incarnations"], state["runners"], strict=True)
        ):
            if runner is not None and index in self._roster.up:
                self._roster.adopt(index, incarnation)
                self._restore(index, runner)
            elif index not in fresh:
                self._roster.renew(index, incarnation + 1)

    def close(self) -> None:
        """End all runners."""
        self._remote.close()

    @property
    def _has_more_than_wanted(self) -> bool:
        return len(self._roster.up) > self._num_wanted

    def _gather(self) -> None:
        """Wait until so many have joined as a run needs. The roster's patience bounds the wait."""
        while self._roster.is_short:
            self._await_others()

    def _ask(self, weights: WeightsReference) -> None:
        """Ask all that are up and free; those that start for the first time are waited for."""
        while self._roster.are_starting:
            self._await_others()
        for index in self._free():
            if not self._casting.reaches(index):
                continue
            self._roster.ask(index, weights)
            self._awaited.add(index)
            self._num_asks += 1
            self._last_asked[index] = self._num_asks

    def _ask_ahead(self, weights: WeightsReference) -> None:
        """Ask for the next call, which asks those whom these weights do not reach."""
        try:
            self._ask(weights)
        except LostWeightsError as error:
            _LOGGER.warning("runners wait for the next weights: %s", error)

    def _free(self) -> list[int]:
        """Return who is to be asked: all that are free, or of more than are wanted those longest not asked.

        Then two updates' worth are asked for and not taken at most, so that none is older than two updates.
        """
        up = self._roster.up
        free = [index for index in up if self._roster.num_requests(index) == 0]
        if not self._has_more_than_wanted:
            return free
        num_open = len(self._arrived) + len(up) - len(free)
        room = max(0, 2 * self._num_wanted - num_open)
        return sorted(sorted(free, key=self._last_asked.__getitem__)[:room])

    def _wait(self, weights: WeightsReference) -> None:
        """Wait for those that were asked, as long as the settings say, and for one of them in any case."""
        deadline = self._clock() + self._settings.sample_timeout_s
        while not self._arrived or (self._awaited and not self._is_enough):
            if not self._awaited:
                self._gather()
                self._ask(weights)  # everyone was lost: whoever comes back first
            remaining_s = deadline - self._clock()
            if remaining_s <= 0 and self._arrived:
                self._leave_behind()
            else:
                self._receive(remaining_s if remaining_s > 0 else math.inf)
        self._late |= self._awaited
        self._awaited = set()

    @property
    def _is_enough(self) -> bool:
        return self._has_more_than_wanted and len(self._arrived) >= self._num_wanted

    def _receive(self, timeout_s: float) -> None:
        for sampled in self._roster.wait(timeout_s):
            self._arrived.append((sampled.index, sampled.fragment))
            self._awaited.discard(sampled.index)
            if sampled.index in self._late:
                self._late.remove(sampled.index)
                self._num_late_fragments += 1
        at_work = {index for index in self._roster.up if self._roster.num_requests(index)}
        self._awaited &= at_work
        self._late &= at_work

    def _await_others(self) -> None:
        """Wait for a moment for those that have not started."""
        if self._is_interrupted:
            raise WaitInterruptedError("interrupted while runners were waited for")
        self._receive(_LOOK_S)

    def _leave_behind(self) -> None:
        """Go on without those that have not answered; their fragments join the next update."""
        _LOGGER.warning(
            "the update goes on without runners %s, which took longer than sample_timeout_s=%g; their "
            "fragments join the next one",
            sorted(self._awaited),
            self._settings.sample_timeout_s,
        )
        self._late |= self._awaited
        self._awaited = set()

    def _become_idle(self) -> None:
        """Wait until nothing is asked of any runner. The roster's patience bounds the wait."""
        while self._awaited or self._late or (self._roster.are_starting and not self._is_interrupted):
            self._receive(math.inf)

    def _state_of(self, index: int) -> Mapping[str, Any] | None:
        if index not in self._roster.up:
            return None
        if not self._casting.reaches(index):
            return None
        try:
            return self._remote.get_state(index, self._settings.sample_timeout_s) or None  # it has none
        except (ConnectionError, TimeoutError) as error:
            self._roster.lose(index, f"its state could not be had: {error}")
            return None

    def _restore(self, index: int, state: Mapping[str, Any]) -> None:
        try:
            self._remote.set_state(index, state, self._settings.runner_start_timeout_s)
        except (ConnectionError, TimeoutError) as error:
            self._roster.lose(index, f"its state could not be restored, and it starts afresh: {error}")


def _message_of(fragment: FragmentReference) -> NDArray[np.uint8] | None:
    """Return a fragment as checkpoints take it, or None where it went with its node: learners count that."""
    try:
        return as_array(encode_fragment(fragment.load()))
    except (ConnectionError, TimeoutError) as error:
        _LOGGER.warning("a checkpoint goes without %d rows: %s", fragment.summary.num_rows, error)
        return None
