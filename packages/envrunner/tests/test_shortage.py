"""Who waits for runners that come by themselves knows until when, and begins anew after an error."""

from __future__ import annotations

import math

from outrider.envrunner.fleet.shortage import Shortage


class Clock:
    """Says the time that a test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_others_are_waited_for_aloud_or_no_longer_whichever_comes_first() -> None:
    clock = Clock()
    shortage = Shortage(num_needed=2, timeout_s=40.0, clock=clock)
    assert shortage.deadline == math.inf
    assert shortage.watch(1) is None
    assert shortage.deadline == -math.inf  # it is told at once
    assert shortage.watch(1) is None
    assert shortage.deadline == 30.0
    clock.now = 30.0
    assert shortage.watch(1) is None
    assert shortage.deadline == 40.0
    assert shortage.watch(2) is None
    assert shortage.deadline == math.inf


def test_after_an_error_others_are_waited_for_as_long_again() -> None:
    clock = Clock()
    shortage = Shortage(num_needed=1, timeout_s=40.0, clock=clock)
    shortage.watch(0)
    clock.now += 40.0
    assert isinstance(shortage.watch(0), TimeoutError)
    assert shortage.watch(0) is None
    clock.now += 39.0
    assert shortage.watch(0) is None
    clock.now += 1.0
    assert isinstance(shortage.watch(0), TimeoutError)
