"""What an asynchronous fleet asks of whom, in counts worked out by hand.

A start takes one second, a fragment another, and has 10 rows.
"""

from __future__ import annotations

from typing import Any

import pytest

from outrider.envrunner import AsyncRunnerFleet, EnvRunnerSettings, RunnersLostError
from outrider.testing.fake_runners import FakeRunners
from outrider.testing.numbered_runner import NumberedRunner, numbered_weights, sampled_by


class Fleet:
    """A fleet over fake runners."""

    def __init__(self, num_runners: int = 2, **settings: Any) -> None:
        self.remote = FakeRunners(NumberedRunner, num_runners)
        settings = {"sample_timeout_s": 10.0, "runner_start_timeout_s": 20.0, **settings}
        self.fleet = AsyncRunnerFleet(
            self.remote, EnvRunnerSettings(**settings), num_steps=10, clock=self.remote.clock
        )

    def collect(self, at_most: int = 100, timeout_s: float = 100.0) -> list[tuple[int, int, int]]:
        """Return who sampled what was collected, in which incarnation, and its how manieth."""
        return [sampled_by(each) for each in self.fleet.collect(at_most=at_most, timeout_s=timeout_s)]


def sampling(num_runners: int = 2, **settings: Any) -> Fleet:
    """Return a fleet that has begun to sample, at second 1."""
    made = Fleet(num_runners, **settings)
    made.fleet.offer(numbered_weights(0))
    made.remote.pass_time(1)
    assert made.collect(at_most=0) == []
    return made


def test_runners_sample_on_while_the_learner_learns() -> None:
    made = sampling(num_runners=1)
    made.remote.pass_time(2)
    assert made.collect(timeout_s=0) == [(0, 0, 0), (0, 0, 1)]


def test_a_runner_whose_fragments_are_not_taken_is_asked_no_further() -> None:
    made = sampling(num_runners=1, max_requests_in_flight_per_env_runner=3)
    for _ in range(20):
        made.remote.pass_time(1)
        assert made.collect(at_most=0) == []
    assert made.remote.num_asked[0] == 3


def test_taking_one_fragment_makes_room_for_one_request() -> None:
    made = sampling(num_runners=1)
    made.remote.pass_time(5)
    assert made.collect(at_most=1) == [(0, 0, 0)]
    assert made.remote.num_asked[0] == 3


def test_fragments_come_oldest_first_whose_ever_they_are() -> None:
    made = Fleet()
    made.remote.slow(0, seconds=1.5)
    made.fleet.offer(numbered_weights(0))
    assert [made.collect(at_most=1) for _ in range(3)] == [[(1, 0, 0)], [(0, 0, 0)], [(1, 0, 1)]]


def test_waiting_for_a_fragment_ends_in_time() -> None:
    made = sampling(num_runners=1)
    made.remote.slow(0, seconds=9)
    made.collect()
    now = made.remote.clock()
    assert made.collect(timeout_s=2.5) == []
    assert made.remote.clock() == now + 2.5


def test_new_weights_act_from_the_next_fragment_on() -> None:
    made = sampling(num_runners=1)
    made.remote.pass_time(0.5)
    made.fleet.offer(numbered_weights(1))
    versions = []
    for _ in range(3):
        (reference,) = made.fleet.collect(at_most=1, timeout_s=10)
        versions.append(reference.load().policy_version.tolist())
    assert versions == [[0], [1], [1]]


def test_a_lost_runner_holds_nobody_up_and_comes_back_with_the_newest_weights() -> None:
    made = sampling()
    made.remote.lose(1, in_s=0.5)
    assert made.collect() == [(0, 0, 0)]
    made.fleet.offer(numbered_weights(7))
    made.remote.pass_time(1)
    while (found := made.fleet.collect(at_most=1, timeout_s=10)) and sampled_by(found[0])[0] == 0:
        pass
    assert sampled_by(found[0]) == (1, 1, 0)
    assert found[0].load().policy_version.tolist() == [7]


def test_what_a_lost_runner_had_finished_is_kept_and_what_it_was_asked_for_is_counted() -> None:
    made = sampling(num_runners=1)
    made.remote.lose(0, in_s=1.5)
    made.remote.pass_time(3)
    assert made.collect(timeout_s=0) == [(0, 0, 0)]
    assert made.fleet.statistics().num_lost_rows == 10


def test_a_silent_runner_is_made_anew_however_busy_the_others_are() -> None:
    made = sampling()
    made.remote.hang(1)
    made.remote.slow(0, seconds=0.5)
    while made.remote.clock() < 25:
        made.collect()
    assert made.remote.starts[-1] == (1, 1)
    assert made.fleet.statistics().num_lost_rows == 20


def test_a_long_absence_of_the_caller_is_nobodys_silence() -> None:
    made = sampling()
    made.remote.pass_time(500)
    made.collect()
    made.remote.pass_time(500)
    made.collect()
    assert made.fleet.statistics().num_runner_restarts == 0


def test_what_a_runner_raises_is_raised() -> None:
    made = sampling()
    made.remote.fail(0, ArithmeticError("scripted"))
    with pytest.raises(ArithmeticError, match="scripted"):
        made.collect()
    assert made.collect() == [(1, 0, 0)]


def test_what_a_runner_delivers_after_an_error_is_lost_with_the_rest() -> None:
    made = sampling(num_runners=1)
    made.remote.fail(0, ArithmeticError("scripted"))
    made.remote.pass_time(5)
    with pytest.raises(ArithmeticError, match="scripted"):
        made.collect()
    assert made.collect() == [(0, 1, 0)]
    assert made.fleet.statistics().num_lost_rows == 20


def test_a_runner_that_fails_and_then_dies_is_made_anew_once() -> None:
    made = sampling(num_runners=1)
    made.remote.fail(0, ArithmeticError("scripted"))
    made.remote.lose(0, in_s=1.5)
    made.remote.pass_time(5)
    with pytest.raises(ArithmeticError, match="scripted"):
        made.collect()
    made.collect()
    assert made.remote.starts == [(0, 0), (0, 1)]


def test_a_runner_that_is_lost_again_and_again_stops_the_run() -> None:
    made = sampling(num_runners=1, max_env_runner_restarts=2)
    made.remote.lose_starts(0, 2)
    made.remote.lose(0)
    with pytest.raises(RunnersLostError, match="runner 0 was lost 3 times"):
        made.collect()


def test_a_resumed_fleet_has_incarnations_that_never_were() -> None:
    made, resumed = sampling(), Fleet()
    made.remote.lose(1)
    made.collect()
    resumed.fleet.set_state(made.fleet.get_state())
    resumed.fleet.offer(numbered_weights(0))
    assert resumed.collect() == [(0, 1, 0), (1, 2, 0)]
    assert resumed.fleet.statistics().num_runner_restarts == 0
