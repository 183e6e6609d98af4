"""Runners as a fleet sees them, in this process and without a clock: time is a number that waiting adds to.

    remote = FakeRunners(plan.make_runner, num_runners=2)
    fleet = RunnerFleet(remote, settings, num_steps=20, clock=remote.clock)
    remote.slow(1, seconds=90)
    fleet.sample(weights)  # returns at once, 60 seconds later

A start takes one second and a fragment another; what happens at the same time happens in the order of
the runners. Whoever waits without end for what never comes gets an AssertionError.

    remote = FakeRunners(make, num_runners=3, seats={1, 2})
    remote.join(1, in_s=5)  # nobody sits at seat 2
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from outrider.envrunner.fleet.planned_runner import CAST
from outrider.envrunner.fleet.remote_runners import (
    Admission,
    Failed,
    Left,
    Lost,
    Placed,
    Ready,
    RunnerEvent,
    Sampled,
    Waiting,
)
from outrider.envrunner.policies.cast import Cast
from outrider.transport import LocalFragment, WeightsReference
from outrider.wire import Fragment, Weights

_PATIENCE = 1000


class FakedRunner(Protocol):
    """What `outrider.envrunner.EnvRunner` can do, as far as other processes ask for it."""

    def set_weights(self, weights: Weights) -> None: ...

    def sample(self) -> Fragment: ...

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, state: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Process:
    incarnation: int
    done_at: float
    """When it has started or sampled; infinity while it has nothing to do."""
    runner: FakedRunner | None = None
    acting: WeightsReference | None = None
    requests: deque[WeightsReference | None] = field(default_factory=deque)
    hangs: bool = False
    room_at: float | None = None
    """When it finds room, until it has said that there is none."""

    @property
    def is_idle(self) -> bool:
        return self.runner is not None and self.acting is None


class FakeRunners:
    """A `RemoteRunners` that does exactly what a test says."""

    def __init__(
        self, make: Callable[[int, int], FakedRunner], num_runners: int, seats: Collection[int] = ()
    ) -> None:
        """`make` makes a runner from its index and incarnation, as `RunnerPlan.make_runner` does.

        `seats` are the runners that come when a test says so.
        """
        self._make = make
        self._num_runners = num_runners
        self.admission = Admission(seats=frozenset(seats))
        """Who may come by himself, and counts that a test may set."""
        self._open: dict[int, int] = {}
        """Incarnations of seats that are started and empty."""
        self._joins: list[tuple[float, int]] = []
        self._now = 0.0
        self._processes: dict[int, _Process] = {}
        self._events: list[RunnerEvent] = []
        self._newest: WeightsReference | None = None
        self._sample_s = dict.fromkeys(range(num_runners), 1.0)
        self._errors: dict[int, Exception] = {}
        self._num_bad_starts: Counter[int] = Counter()
        self._no_room: dict[int, tuple[float, float]] = {}
        """Of starts: seconds until it is told, and until there is room."""
        self._deaths: list[tuple[float, int]] = []
        self._num_idle_reads = 0
        self.is_closed = False
        self.starts: list[tuple[int, int]] = []
        """Index and incarnation of every start so far."""
        self.told: list[tuple[int, str]] = []
        """Who was sent away so far, and why."""
        self.num_asked: Counter[int] = Counter()
        """Requests so far by runner."""

    # What a test does.

    def clock(self) -> float:
        """Return the time in seconds, from 0 on."""
        return self._now

    def pass_time(self, seconds: float) -> None:
        """Let the runners work while nobody looks."""
        self._advance(self._now + seconds)

    def lose(self, index: int, *, in_s: float = 0.0) -> None:
        """End a runner's process, now or when some time has passed."""
        if in_s > 0:
            self._deaths.append((self._now + in_s, index))
        elif self._processes.pop(index, None):
            self._events.append(Lost(index, "its process was killed"))

    def join(self, index: int, *, in_s: float = 0.0) -> None:
        """Let somebody come to a seat that is free then."""
        self._joins.append((self._now + in_s, index))

    def leave(self, index: int) -> None:
        """Let a runner go that has answered what it was asked for."""
        assert self._processes.pop(index).acting is None, f"runner {index} is at work"
        self._events.append(Left(index, "its shift is over"))

    def lose_starts(self, index: int, num_starts: int) -> None:
        """End as many of a runner's next starts before it is ready."""
        self._num_bad_starts[index] += num_starts

    def hang(self, index: int) -> None:
        """Let a runner that is there never answer again."""
        if index in self._processes:
            self._processes[index].hangs = True

    def take_room(self, index: int, *, for_s: float, told_after_s: float) -> None:
        """Let a runner that starts wait for room for so long, and say so meanwhile; so its next starts."""
        self._no_room[index] = (told_after_s, for_s)
        process = self._processes.get(index)
        if process and process.runner is None:
            self._let_wait(index, process)

    def place(self, index: int, *, ready_in_s: float) -> None:
        """Let the process of a runner that starts be heard of now, and have it ready so much later."""
        self._events.append(Placed(index))
        self._processes[index].done_at = self._now + ready_in_s

    def slow(self, index: int, *, seconds: float) -> None:
        """Let a runner take so long for each of its next fragments."""
        self._sample_s[index] = seconds

    def fail(self, index: int, error: Exception) -> None:
        """Let a runner raise an error instead of its next fragment."""
        self._errors[index] = error

    # What a fleet does: `RemoteRunners`.

    @property
    def num_runners(self) -> int:
        """How many there can be."""
        return self._num_runners

    def start(self, index: int, *, incarnation: int) -> None:
        """Begin to make a runner."""
        assert index not in self._processes, f"runner {index} was started and is there already"
        self.starts.append((index, incarnation))
        if index in self.admission.seats:
            self._open[index] = incarnation
            self._events.append(Waiting(index, "nobody sits there"))
            return
        self._processes[index] = _Process(incarnation, self._now + 1.0)
        if index in self._no_room:
            self._let_wait(index, self._processes[index])

    def ask(self, index: int, weights: WeightsReference | None) -> None:
        """Ask a runner for a fragment; where its process is gone, nothing comes of it."""
        self.num_asked[index] += 1
        process = self._processes.get(index)
        if process:
            process.requests.append(weights)
            self._begin(index, process)

    def offer(self, weights: WeightsReference) -> None:
        """Give newer weights to all runners, also to those made later."""
        self._newest = weights
        for index, process in self._processes.items():
            self._begin(index, process)

    def events(self, timeout_s: float) -> Sequence[RunnerEvent]:
        """Return what has happened, and wait up to `timeout_s` for the first."""
        if not self._events:
            self._wait(timeout_s)
        self._num_idle_reads = 0 if self._events or timeout_s > 0 else self._num_idle_reads + 1
        assert self._num_idle_reads < _PATIENCE, "somebody asks for events again and again without waiting"
        events, self._events = self._events, []
        return events

    def get_state(self, index: int, timeout_s: float) -> Mapping[str, Any]:
        """Return the state of a runner that nothing is asked of."""
        return self._idle(index, timeout_s).get_state()

    def set_state(self, index: int, state: Mapping[str, Any], timeout_s: float) -> None:
        """Let a runner continue from a state."""
        self._idle(index, timeout_s).set_state(state)

    def check_cast(self, cast: Cast) -> None:
        """Take any."""

    def recast(self, index: int, cast: Cast, timeout_s: float) -> None:
        """Let a runner act with other policies."""
        self._idle(index, timeout_s).set_state({CAST: cast.to_message()})

    def stop(self, index: int, reason: str = "") -> None:
        """End a runner's process; no further event comes from it."""
        if index in self._processes and reason:
            self.told.append((index, reason))
        self._processes.pop(index, None)
        self._open.pop(index, None)
        self._events = [event for event in self._events if event.index != index]

    def close(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            if process.runner:
                process.runner.close()
        self._processes = {}
        self.is_closed = True

    def _wait(self, timeout_s: float) -> None:
        until = self._now + timeout_s
        while not self._events:
            next_at, _ = self._next()
            assert min(until, next_at) < math.inf, "somebody waits without end, and no runner is at work"
            self._advance(min(until, next_at))
            if self._now >= until:
                return

    def _next(self) -> tuple[float, int]:
        """Return when something happens next, and to whom."""
        work = [(process.done_at, index) for index, process in self._processes.items()]
        return min([*self._deaths, *self._joins, *work], default=(math.inf, -1))

    def _advance(self, until: float) -> None:
        """Do what happens until then, in its order."""
        while (next_ := self._next())[0] <= until and next_[0] < math.inf:
            next_at, index = next_
            self._now = max(self._now, next_at)
            if next_ in self._deaths:
                self._deaths.remove(next_)
                self.lose(index)
                continue
            if next_ in self._joins:
                self._joins.remove(next_)
                self._sit_down(index)
                continue
            process = self._processes[index]
            process.done_at = math.inf
            if not process.hangs:
                self._finish(index, process)
        self._now = max(self._now, until)

    def _sit_down(self, index: int) -> None:
        if index in self._open:
            self._processes[index] = _Process(self._open.pop(index), self._now + 1.0)
            self._events.append(Placed(index))

    def _finish(self, index: int, process: _Process) -> None:
        """Do what takes no time at the end of the time that it takes."""
        if process.room_at is not None:
            self._events.append(Waiting(index, "the moon is taken"))
            process.done_at, process.room_at = process.room_at + 1.0, None
            return
        if process.runner is None and self._num_bad_starts[index]:
            self._num_bad_starts[index] -= 1
            self.lose(index)
            return
        try:
            if process.runner is None:
                process.runner = self._make(index, process.incarnation)
                self._events.append(Ready(index))
            else:
                self._events.append(Sampled(index, LocalFragment(self._sample(index, process))))
        except Exception as error:  # noqa: BLE001 - whatever it is, the fleet is told
            self._events.append(Failed(index, error))
        process.acting = None
        self._begin(index, process)

    def _let_wait(self, index: int, process: _Process) -> None:
        told_after_s, for_s = self._no_room[index]
        process.done_at, process.room_at = self._now + told_after_s, self._now + for_s

    def _sample(self, index: int, process: _Process) -> Fragment:
        if index in self._errors:
            raise self._errors.pop(index)
        assert process.runner is not None
        assert process.acting is not None
        process.runner.set_weights(process.acting.load())
        return process.runner.sample()

    def _begin(self, index: int, process: _Process) -> None:
        """Take the next request, and the weights that act on it from its first step on."""
        if process.is_idle and process.requests:
            process.acting = process.requests[0] or self._newest
            if process.acting is not None:
                process.requests.popleft()
                process.done_at = self._now + self._sample_s[index]

    def _idle(self, index: int, timeout_s: float) -> FakedRunner:
        process = self._processes.get(index)
        if process is None or process.runner is None:
            raise ConnectionError(f"runner {index} is gone; start it anew")
        assert process.is_idle, f"runner {index} is at work"
        assert not process.requests, f"runner {index} is still asked for something"
        if process.hangs:
            self._advance(self._now + timeout_s)
            raise TimeoutError(f"runner {index} did not answer within {timeout_s:g} s")
        return process.runner
