from __future__ import annotations

import random

from outrider.envrunner.farm.dial_again import BackOff


class Longest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        assert a == 0.0
        return b


def test_pauses_double_up_to_half_a_minute() -> None:
    back_off = BackOff(Longest())
    assert [back_off.next_s() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_pauses_are_short_again_after_a_success() -> None:
    back_off = BackOff(Longest())
    for _ in range(5):
        back_off.next_s()
    back_off.succeed()
    assert back_off.next_s() == 0.5


def test_a_thousand_peers_do_not_come_back_together() -> None:
    pauses = sorted(BackOff(random.Random(seed)).next_s() for seed in range(1000))
    assert pauses[100] < 0.1
    assert pauses[900] > 0.4


def test_years_of_failures_overflow_nothing() -> None:
    back_off = BackOff(Longest())
    assert max(back_off.next_s() for _ in range(5000)) == 30
