"""Keeps the runners of a fleet going: starts them, notices when one is gone or silent, makes it anew.

    starting ---Ready---> up ---Lost, silent---> resting ---pause over---> starting
    starting ---Lost, not ready in time--------> resting
    starting ---Waiting, others are up---> waiting ---Ready---> up
                                           waiting ---Lost----> resting

    seats:   empty ---Placed---> starting ---Ready---> up ---Lost, Left, Failed, silent---> empty

A runner that waits for room is no loss while others sample, and may wait for as long as they do. Where
none is up, it is one: then the run ends after so many. Those who come by themselves to a seat
(`Admission.seats`) may go as they like: the run waits where fewer than `min_runners` are up, for
`join_timeout_s` at most. A seat where one after the other is too slow is as bad as a runner that is
lost again and again, unless any other delivers: one bad farm ends no run.

Nothing here decides what a runner is asked, or waits in any other way than for the runners' events.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from outrider.envrunner.environments.failure_lines import FailureLines
from outrider.envrunner.fleet.pool import PoolStatistics
from outrider.envrunner.fleet.remote_runners import (
    Failed,
    Left,
    Lost,
    Placed,
    Ready,
    RemoteRunners,
    RunnerEvent,
    Sampled,
    Waiting,
)
from outrider.envrunner.fleet.shortage import Shortage
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.transport import WeightsReference

_LOGGER = logging.getLogger("outrider.envrunner")
_GRACE_S = 1.0  # whoever starts processes knows better why one does not come up, and may say so first
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


class RunnersLostError(RuntimeError):
    """Raised where a runner is lost more often than the settings allow."""


class _Status(Enum):
    EMPTY = auto()
    STARTING = auto()
    WAITING = auto()
    UP = auto()
    RESTING = auto()


@dataclass(slots=True)
class _Member:
    incarnation: int = 0
    status: _Status = _Status.RESTING
    until: float = 0.0
    """When a rest is over, or a start has taken too long."""
    num_losses: int = 0
    """In a row, without a fragment in between."""
    num_requests: int = 0
    silent_since: float = 0.0


class Roster:
    """Which runners are up, what they were asked for, and what became of it.

    Whatever a runner was asked for is either returned by `wait` once, or counted as lost.
    """

    def __init__(
        self,
        remote: RemoteRunners,
        settings: EnvRunnerSettings,
        *,
        num_rows: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start all runners and return at once; a fragment has `num_rows` rows.

        Seats open with the first `wait`, when it is known how a run that is resumed goes on.
        """
        self._remote = remote
        self._settings = settings
        self._num_rows = num_rows
        self._clock = clock
        self._members = [_Member() for _ in range(remote.num_runners)]
        self._sampled: list[Sampled] = []
        self._errors: list[Exception] = []
        self._failures = FailureLines(clock)
        self._any_was_up = False
        self._seats = remote.admission.seats
        self._shortage = Shortage(
            num_needed=min(settings.min_runners, len(self._members)) if self._seats else 0,
            timeout_s=settings.join_timeout_s,
            clock=clock,
        )
        self._num_late: Counter[int] = Counter()
        """Of each seat, how many in it were too slow since anybody delivered anything."""
        self._delivered_at = -math.inf
        self._num_restarts = self._num_lost_rows = self._num_joined = self._num_left = 0
        self._unopened = set(self._seats)
        for seat in self._seats:
            self._members[seat].status = _Status.EMPTY
        for index in set(range(len(self._members))) - self._seats:
            self._start(index)

    @property
    def up(self) -> list[int]:
        """Runners that can be asked."""
        return [index for index, member in enumerate(self._members) if member.status is _Status.UP]

    @property
    def are_starting(self) -> bool:
        """Whether a runner starts that was not lost before: it is worth waiting for."""
        return any(
            member.status is _Status.STARTING and member.num_losses == 0
            for index, member in enumerate(self._members)
            if index not in self._seats
        )

    @property
    def is_short(self) -> bool:
        """Whether fewer are up than a run needs that others may join: those are worth waiting for."""
        return self._shortage.is_there(len(self.up))

    @property
    def incarnations(self) -> list[int]:
        """How often each runner was made before its present incarnation."""
        return [member.incarnation for member in self._members]

    def num_requests(self, index: int) -> int:
        """Return how many fragments a runner was asked for and has not delivered yet."""
        return self._members[index].num_requests

    def statistics(self) -> PoolStatistics:
        """Return the counts so far, without late fragments."""
        admission = self._remote.admission
        return PoolStatistics(
            num_runners=len(self.up),
            num_runner_restarts=self._num_restarts,
            num_lost_rows=self._num_lost_rows,
            num_farm_runners=len(self._seats.intersection(self.up)),
            num_joined=self._num_joined,
            num_left=self._num_left,
            num_refused=admission.num_refused,
            num_cut_off=admission.num_cut_off,
            num_duplicates=admission.num_duplicates,
        )

    def ask(self, index: int, weights: WeightsReference | None) -> None:
        """Ask a runner that is up for a fragment."""
        member = self._members[index]
        assert member.status is _Status.UP
        self._remote.ask(index, weights)
        if member.num_requests == 0:
            member.silent_since = self._clock()
        member.num_requests += 1

    def wait(self, timeout_s: float) -> Sequence[Sampled]:
        """Return the fragments that came, and wait up to `timeout_s` for anything to happen.

        Returns nothing, and before the time, where a runner came up or was lost. Raises what a runner
        raised, RunnersLostError where one is lost again and again, and TimeoutError where too few join;
        fragments that came meanwhile are returned by the next call.
        """
        self._open_seats()
        self._start_rested()
        self._watch_shortage()
        timeout_s = max(0.0, min(timeout_s, self._next_deadline() - self._clock()))
        for event in self._remote.events(timeout_s):
            self._take(event)
        self._lose_silent()
        self._watch_shortage()
        if self._errors:
            error, self._errors = self._errors[0], []
            raise error
        sampled, self._sampled = self._sampled, []
        return sampled

    def lose(self, index: int, reason: str) -> None:
        """End a runner that does not do what it should; it is made anew after a pause, or its seat freed."""
        if index in self._seats:
            _LOGGER.warning("runner %d is sent away: %s", index, reason)
            self._vacate(index, reason)
        else:
            self._remote.stop(index)
            self._record_loss(index, reason)

    def expect(self, incarnations: Sequence[int]) -> set[int]:
        """Let seats that are not open yet go on as these incarnations, of all runners; return which seats."""
        for seat in self._unopened:
            self._members[seat].incarnation = incarnations[seat]
        return set(self._unopened)

    def renew(self, index: int, incarnation: int) -> None:
        """Make a runner anew as a later incarnation, which no loss is the reason for."""
        self._dismiss(index)
        self._members[index].incarnation = incarnation
        self._start(index)

    def adopt(self, index: int, incarnation: int) -> None:
        """Note that a runner continues as `incarnation`, whose state it was given."""
        self._members[index].incarnation = incarnation

    def _take(self, event: RunnerEvent) -> None:
        """Note what happened; what comes of a runner that was given up already is nothing."""
        member = self._members[event.index]
        match event:
            case Ready() if member.status in (_Status.STARTING, _Status.WAITING):
                member.status = _Status.UP
                self._any_was_up = True
                self._num_joined += event.index in self._seats
            case Placed() if member.status in (_Status.STARTING, _Status.EMPTY):
                member.status = _Status.STARTING
                member.until = self._clock() + self._settings.runner_start_timeout_s
            case Waiting(index, reason) if index in self._seats:
                self._shortage.where = reason
            case Waiting(index, reason) if member.status is _Status.STARTING:
                self._let_wait(index, reason)
            case Sampled() if member.num_requests:
                member.num_requests -= 1
                member.num_losses = 0
                self._delivered_at = self._clock()
                self._num_late.clear()
                member.silent_since = self._clock()
                self._failures.add(event.index, event.fragment.summary.statistics.num_restarts)
                self._sampled.append(event)
            case Left():
                member.num_requests = 0
                self._take(Lost(event.index, event.reason))
            case Lost(index) | Failed(index) if index in self._seats:
                self._vacate(index)
            case Lost(index, reason) if member.status is not _Status.RESTING:
                self._record_loss(index, reason)
            case Failed(index, error):
                self._dismiss(index)
                self._errors.append(error)

    def _let_wait(self, index: int, reason: str) -> None:
        """Go on without a runner that there is no room for, unless nobody is left to go on."""
        if not self.up:
            self.lose(index, reason)
            return
        self._members[index].status = _Status.WAITING
        _LOGGER.warning("the run goes on without runner %d until there is room for it: %s", index, reason)

    def _start(self, index: int) -> None:
        member = self._members[index]
        member.status = _Status.EMPTY if index in self._seats else _Status.STARTING
        member.until = self._clock() + self._settings.runner_start_timeout_s
        self._remote.start(index, incarnation=member.incarnation)

    def _vacate(self, index: int, reason: str = "") -> None:
        """Free a seat for the next one who comes, as the next incarnation."""
        self._num_left += self._members[index].status is _Status.UP
        self._dismiss(index, reason)
        self._start(index)

    def _watch_shortage(self) -> None:
        error = self._shortage.watch(len(self.up))
        if error is not None:
            self._errors.append(error)

    def _open_seats(self) -> None:
        while self._unopened:
            seat = min(self._unopened)
            self._unopened.remove(seat)
            self._start(seat)

    def _start_rested(self) -> None:
        for index, member in enumerate(self._members):
            if member.status is _Status.RESTING and member.until <= self._clock():
                self._num_restarts += 1
                self._start(index)

    def _next_deadline(self) -> float:
        """Return when a rest is over, or patience with somebody, or others are to be waited for aloud."""
        return min([self._shortage.deadline, *map(self._deadline, self._members)])

    def _deadline(self, member: _Member) -> float:
        if member.status is _Status.RESTING:
            return member.until
        if member.status is _Status.STARTING:
            return member.until + _GRACE_S
        if member.status in (_Status.WAITING, _Status.EMPTY):
            return math.inf
        return member.silent_since + self._patience_s if member.num_requests else math.inf

    @property
    def _patience_s(self) -> float:
        return 2 * self._settings.sample_timeout_s

    def _lose_silent(self) -> None:
        """Lose those that nothing was heard of for too long."""
        for index, member in enumerate(self._members):
            if member.status is _Status.RESTING or self._deadline(member) > self._clock():
                continue
            if member.status is _Status.UP:
                self._lose_late(
                    index,
                    f"it delivered nothing for {self._patience_s:g} s, twice sample_timeout_s; where its "
                    "environments are that slow, raise that or lower rollout_fragment_length",
                )
                continue
            timeout_s = self._settings.runner_start_timeout_s
            self._lose_late(
                index,
                f"it was not ready within runner_start_timeout_s={timeout_s:g}; raise that if its "
                "environments take so long to make, or see whether there is room for it",
            )

    def _lose_late(self, index: int, reason: str) -> None:
        """Lose one that is too slow. Of a seat it counts too: whoever comes next is likely to be as slow."""
        self.lose(index, reason)
        if index in self._seats and self._clock() - self._delivered_at >= self._patience_s:
            self._num_late[index] += 1
            self._check_loss(index, reason, self._num_late[index], is_hopeless=False)

    def _record_loss(self, index: int, reason: str) -> None:
        member = self._members[index]
        took_too_long = member.status is _Status.STARTING and member.until <= self._clock()
        self._dismiss(index, stop=False)
        member.num_losses += 1
        self._check_loss(index, reason, member.num_losses, is_hopeless=took_too_long and not self._any_was_up)
        pause_s = _pause_s(member.num_losses)
        member.until = self._clock() + pause_s
        _LOGGER.warning(
            "runner %d is lost and made anew%s (%d of at most %d in a row): %s",
            index,
            f" in {pause_s:g} s" if pause_s else "",
            member.num_losses,
            self._settings.max_env_runner_restarts,
            reason,
        )

    def _check_loss(self, index: int, reason: str, num_losses: int, *, is_hopeless: bool) -> None:
        """Let the next `wait` raise an error where there is no sense in going on."""
        limit = self._settings.max_env_runner_restarts
        if is_hopeless:
            self._errors.append(TimeoutError(f"no runner could be started. Of runner {index}: {reason}"))
        elif num_losses > limit:
            self._errors.append(
                RunnersLostError(
                    f"runner {index} was lost {num_losses} times without delivering a fragment, and "
                    f"max_env_runner_restarts is {limit}; the last time {reason}. Correct that or raise "
                    "max_env_runner_restarts"
                )
            )

    def _dismiss(self, index: int, reason: str = "", *, stop: bool = True) -> None:
        """Count what a runner was asked for as lost; it is made anew as its next incarnation."""
        if stop:
            self._remote.stop(index, reason)
        member = self._members[index]
        self._num_lost_rows += member.num_requests * self._num_rows
        member.num_requests = 0
        member.status = _Status.RESTING
        member.until = self._clock()
        member.incarnation += 1


def _pause_s(num_losses: int) -> float:
    """Return how long a runner rests after so many losses in a row: not at all after the first."""
    return 0.0 if num_losses < 2 else min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (num_losses - 2))
