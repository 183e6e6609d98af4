"""Runners in other processes that sample without pause. An `AsyncRunnerPool`."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from outrider.envrunner.fleet.casting import Casting
from outrider.envrunner.fleet.pool import PoolStatistics, WaitInterruptedError, check_num_states
from outrider.envrunner.fleet.remote_runners import RemoteRunners, Sampled
from outrider.envrunner.fleet.roster import Roster
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.transport import FragmentReference, WeightsReference


class AsyncRunnerFleet:
    """Keeps every runner asked, up to a number of fragments that nobody has taken yet."""

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
        self._num_in_flight = settings.max_requests_in_flight_per_env_runner
        self._clock = clock
        num_rows = num_steps * settings.num_envs_per_env_runner
        self._roster = Roster(remote, settings, num_rows=num_rows, clock=clock)
        self._casting = Casting(remote, self._roster, timeout_s=2 * settings.sample_timeout_s)
        self._finished: deque[Sampled] = deque()
        self._has_weights = self._is_interrupted = False

    def offer(self, weights: WeightsReference) -> None:
        """Let newer weights act from each runner's next fragment on; the first ones let sampling begin."""
        for index in self._roster.up:  # before that: these may lack policies that are gone
            self._casting.reaches(index)
        self._remote.offer(weights)
        self._has_weights = True
        self._ask()

    def collect(self, *, at_most: int, timeout_s: float) -> list[FragmentReference]:
        """Return finished fragments, oldest first, and wait up to `timeout_s` for the first."""
        deadline = self._clock() + timeout_s
        self._receive(0.0)
        while at_most > 0 and not self._finished:
            if self._is_interrupted and (self._roster.is_short or self._roster.are_starting):
                raise WaitInterruptedError("interrupted while runners were waited for")
            remaining_s = deadline - self._clock()
            if remaining_s <= 0:
                break
            self._receive(remaining_s)
        num_taken = min(at_most, len(self._finished))
        taken = [self._finished.popleft().fragment for _ in range(num_taken)]
        self._ask()
        return taken

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
        return self._roster.statistics()

    def get_state(self) -> dict[str, Any]:
        """Return how often each runner was made."""
        return {"incarnations": self._roster.incarnations}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Make all runners anew, so that they play no episode again."""
        check_num_states(state["incarnations"], self._remote.num_runners)
        fresh = self._roster.expect([incarnation + 1 for incarnation in state["incarnations"]])
        for index, incarnation in enumerate(state["incarnations"]):
            if index not in fresh:
                self._roster.renew(index, incarnation + 1)

    def close(self) -> None:
        """End all runners."""
        self._remote.close()

    def _receive(self, timeout_s: float) -> None:
        self._finished.extend(self._roster.wait(timeout_s))
        self._ask()

    def _ask(self) -> None:
        """Ask every runner that has not sampled too far ahead of those who take its fragments."""
        if not self._has_weights or self._roster.is_short:
            return
        num_finished = Counter(sampled.index for sampled in self._finished)
        for index in self._roster.up:
            if not self._casting.reaches(index):
                continue
            while self._roster.num_requests(index) + num_finished[index] < self._num_in_flight:
                self._roster.ask(index, None)
