"""Runners of several kinds in one run: those that it starts itself, and those of farms.

    runners of the fleet     0 1 2 3 4
    MixedRunners(a, b)       0 1 | 0 1 2       a has two, b three

What each part is made of must be a plan whose `first_runner` is the number of its first runner here, or
two runners would play the same episodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import accumulate
from typing import Any

from outrider.envrunner.fleet.remote_runners import Admission, RemoteRunners, RunnerEvent
from outrider.envrunner.policies.cast import Cast
from outrider.transport import WeightsReference

_SHORTEST_TURN_S, _LONGEST_TURN_S = 1e-3, 10e-3
"""How long one part is waited for while another may have something: at most so late is an event noticed."""


class MixedRunners:
    """A `RemoteRunners` over others, whose runners it counts one part after the other. For one thread."""

    def __init__(self, *parts: RemoteRunners, clock: Callable[[], float] = time.monotonic) -> None:
        """Take over the parts: closing this closes them."""
        self._parts = parts
        self._clock = clock
        *self._firsts, self._num_runners = accumulate((part.num_runners for part in parts), initial=0)

    @property
    def num_runners(self) -> int:
        """How many there can be."""
        return self._num_runners

    @property
    def admission(self) -> Admission:
        """Who may come by himself into any part."""
        each = [part.admission for part in self._parts]
        return Admission(
            seats=frozenset(
                first + seat
                for first, admission in zip(self._firsts, each, strict=True)
                for seat in admission.seats
            ),
            num_refused=sum(admission.num_refused for admission in each),
            num_cut_off=sum(admission.num_cut_off for admission in each),
            num_duplicates=sum(admission.num_duplicates for admission in each),
        )

    def start(self, index: int, *, incarnation: int) -> None:
        """Begin to make a runner."""
        part, within = self._place(index)
        part.start(within, incarnation=incarnation)

    def ask(self, index: int, weights: WeightsReference | None) -> None:
        """Ask a runner for a fragment."""
        part, within = self._place(index)
        part.ask(within, weights)

    def offer(self, weights: WeightsReference) -> None:
        """Give newer weights to the runners of all parts."""
        for part in self._parts:
            part.offer(weights)

    def events(self, timeout_s: float) -> Sequence[RunnerEvent]:
        """Return what has happened in all parts, which are waited for by turns."""
        deadline = self._clock() + timeout_s
        turn_s = 0.0
        while True:
            events: list[RunnerEvent] = []
            for first, part in zip(self._firsts, self._parts, strict=True):
                remaining_s = max(0.0, deadline - self._clock())
                news = part.events(0.0 if events else min(turn_s, remaining_s))
                events += [replace(event, index=first + event.index) for event in news]
            if events or self._clock() >= deadline:
                return events
            turn_s = min(max(2 * turn_s, _SHORTEST_TURN_S), _LONGEST_TURN_S)

    def get_state(self, index: int, timeout_s: float) -> Mapping[str, Any]:
        """Return the state of a runner."""
        part, within = self._place(index)
        return part.get_state(within, timeout_s)

    def set_state(self, index: int, state: Mapping[str, Any], timeout_s: float) -> None:
        """Let a runner continue from a state."""
        part, within = self._place(index)
        part.set_state(within, state, timeout_s)

    def check_cast(self, cast: Cast) -> None:
        """Ask all parts."""
        for part in self._parts:
            part.check_cast(cast)

    def recast(self, index: int, cast: Cast, timeout_s: float) -> None:
        """Let a runner act with other policies."""
        part, within = self._place(index)
        part.recast(within, cast, timeout_s)

    def stop(self, index: int, reason: str = "") -> None:
        """End a runner's process."""
        part, within = self._place(index)
        part.stop(within, reason)

    def close(self) -> None:
        """Close all parts, also where closing one fails."""
        with ExitStack() as closing:
            for part in self._parts:
                closing.callback(part.close)

    def _place(self, index: int) -> tuple[RemoteRunners, int]:
        """Return the part that a runner belongs to, and its number there."""
        first, part = next(
            (first, part)
            for first, part in zip(reversed(self._firsts), reversed(self._parts), strict=True)
            if first <= index
        )
        return part, index - first
