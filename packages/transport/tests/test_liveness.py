from __future__ import annotations

import pytest

from outrider.transport.liveness import MIN_BYTES_PER_S, Liveness, MessageRate, Pace
from outrider.wire.session import Terms

TERMS = Terms(heartbeat_interval_s=3.0, silence_timeout_s=10.0)


def test_a_heartbeat_is_wanted_when_nothing_was_sent_for_the_interval() -> None:
    liveness = Liveness(TERMS, now=0.0)
    liveness.sent(1.0)
    assert not liveness.check(3.0).wants_heartbeat
    checked = liveness.check(4.0)
    assert checked.wants_heartbeat
    assert checked.next_check == 7.0


def test_a_peer_that_is_heard_of_is_not_silent() -> None:
    liveness = Liveness(TERMS, now=0.0)
    for now in range(1, 60):
        liveness.heard(now - 0.5)
        assert not liveness.check(now).is_silent


def test_a_peer_is_silent_when_nothing_came_for_the_timeout() -> None:
    liveness = Liveness(TERMS, now=0.0)
    now, found = 0.0, []
    while not found or not found[-1].is_silent:
        found.append(liveness.check(now))
        now = found[-1].next_check
    assert [round(checked.next_check) for checked in found[:-1]] == [3, 6, 9, 10]


def test_a_process_that_stood_still_does_not_blame_the_other_side() -> None:
    liveness = Liveness(TERMS, now=0.0)
    liveness.check(0.0)
    assert not liveness.check(100.0).is_silent
    for now in (103.0, 106.0, 109.0):
        assert not liveness.check(now).is_silent
    assert liveness.check(110.0).is_silent


def test_a_process_knows_that_it_has_just_stood_still_for_too_long() -> None:
    liveness = Liveness(TERMS, now=0.0)
    liveness.check(0.0)
    assert [liveness.stood_still_s(now) for now in (2.0, 8.0, 43.0)] == [0.0, 0.0, 40.0]
    liveness.check(43.0)
    assert [liveness.stood_still_s(now) for now in (43.5, 46.5)] == [40.0, 0.0]


def test_a_large_message_that_comes_at_the_least_rate_is_fast_enough() -> None:
    pace = Pace(10**9, now=0.0, is_of_stranger=False)
    missing = 10**9
    for now in (10.0, 20.0, 30.0):
        missing -= 10 * MIN_BYTES_PER_S
        assert not pace.is_too_slow(missing, now)
    assert pace.is_too_slow(missing - 10 * MIN_BYTES_PER_S + 1, 40.0)


def test_who_dials_may_take_five_minutes_for_a_large_message() -> None:
    size = 30 * 2**20
    pace = Pace(size, now=0.0, is_of_stranger=True)
    assert not pace.is_too_slow(size - 2**20, 10.0)
    assert pace.is_too_slow(size - 2**20 - (2**20 - 10), 20.0)


@pytest.mark.parametrize(("size", "least"), [(1, 16 * 2**10), (2**40, 2**20)])
def test_no_less_than_16_kib_and_no_more_than_1_mib_a_second_is_asked_for(size: int, least: int) -> None:
    assert Pace(size, now=0.0, is_of_stranger=True).min_bytes_per_s == least


def test_a_process_that_stood_still_does_not_call_the_other_side_slow() -> None:
    pace = Pace(10**9, now=0.0, is_of_stranger=False)
    assert not pace.is_too_slow(10**9, 60.0)
    assert pace.is_too_slow(10**9, 70.0)


def test_more_messages_than_allowed_are_noticed_as_an_average_over_5_s() -> None:
    rate = MessageRate(10, now=0.0)
    assert not any(rate.is_too_high(0.0) for _ in range(50))
    assert rate.is_too_high(4.9)
    assert not any(rate.is_too_high(5.0) for _ in range(50))
