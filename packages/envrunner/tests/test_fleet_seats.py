"""What a fleet does with runners that come and go as they like, in counts worked out by hand.

Who joins needs a second to be ready, a fragment another, and has 10 rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from outrider.envrunner import AsyncRunnerFleet, EnvRunnerSettings, RunnerFleet, WaitInterruptedError
from outrider.envrunner.fleet.roster import RunnersLostError
from outrider.testing.fake_runners import FakeRunners
from outrider.testing.numbered_runner import NumberedRunner, numbered_weights, sampled_by


class Fleet:
    """A fleet with seats, of which the first `joined` are taken at once."""

    def __init__(self, num_seats: int = 2, *, joined: int = 0, others: int = 0, **settings: Any) -> None:
        num_runners = others + num_seats
        self.remote = FakeRunners(NumberedRunner, num_runners, seats=range(others, num_runners))
        settings = {"sample_timeout_s": 10.0, "runner_start_timeout_s": 20.0, **settings}
        self.settings = EnvRunnerSettings(**settings)
        self.fleet = RunnerFleet(self.remote, self.settings, num_steps=10, clock=self.remote.clock)
        self.version = 0
        for index in range(others, others + joined):
            self.remote.join(index)

    def sample(self) -> list[tuple[int, int, int]]:
        """Sample with the next version; return who sampled, in which incarnation, and its how manieth."""
        self.version += 1
        return [sampled_by(fragment) for fragment in self.fleet.sample(numbered_weights(self.version))]


def lines(caplog: pytest.LogCaptureFixture, word: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if word in record.getMessage()]


def test_training_starts_with_as_many_runners_as_it_needs() -> None:
    made = Fleet(num_seats=4, joined=1, min_runners=2)
    made.remote.join(2, in_s=100)
    assert made.sample() == [(0, 0, 0), (2, 0, 0)]
    assert made.remote.clock() == 102.0


def test_who_is_waited_for_is_said_ever_less_often(caplog: pytest.LogCaptureFixture) -> None:
    made = Fleet(joined=1, min_runners=2)
    made.remote.join(1, in_s=130)
    made.sample()
    said = lines(caplog, "waiting")
    assert said[0] == ("waiting for runners, 600 s at most: 0 are up and min_runners is 2: nobody sits there")
    assert [line.split(":")[0] for line in said] == [
        f"waiting for runners, {remaining_s} s at most" for remaining_s in (600, 570, 540, 480)
    ]
    assert said[-1].endswith(": 1 are up and min_runners is 2: nobody sits there")


@pytest.mark.parametrize("kind", ["seats", "others"])
def test_an_interrupted_fleet_waits_for_nobody_who_is_not_there(kind: str) -> None:
    made = Fleet(2, min_runners=2) if kind == "seats" else Fleet(0, others=2)
    made.fleet.interrupt()
    with pytest.raises(WaitInterruptedError):
        made.sample()
    assert made.fleet.get_state()["runners"] == [None, None]
    assert made.remote.clock() == 0.0


def test_an_interrupted_fleet_still_takes_what_it_asked_for() -> None:
    made = Fleet(joined=2)
    made.sample()
    made.fleet.interrupt()
    assert made.sample() == [(0, 0, 1), (1, 0, 1)]


def test_interrupted_runners_that_sample_without_pause_are_not_waited_for_either() -> None:
    remote = FakeRunners(NumberedRunner, 1, seats=range(1))
    fleet = AsyncRunnerFleet(remote, EnvRunnerSettings(), num_steps=10, clock=remote.clock)
    fleet.offer(numbered_weights(1))
    assert fleet.collect(at_most=1, timeout_s=1.0) == []
    fleet.interrupt()
    with pytest.raises(WaitInterruptedError):
        fleet.collect(at_most=1, timeout_s=1.0)


def test_where_too_few_join_in_time_the_run_ends_with_a_sentence() -> None:
    made = Fleet(joined=1, min_runners=2, join_timeout_s=90)
    sentence = "1 runners are up and min_runners is 2, .* join_timeout_s=90: nobody sits there; start a farm"
    with pytest.raises(TimeoutError, match=sentence):
        made.sample()
    assert made.remote.clock() == 90.0


def test_who_joins_during_an_update_takes_part_in_the_next() -> None:
    made = Fleet(joined=1)
    made.sample()
    made.remote.slow(0, seconds=3)
    made.remote.join(1)
    assert made.sample() == [(0, 0, 1)]
    assert made.sample() == [(0, 0, 2), (1, 0, 0)]


def test_an_empty_seat_is_no_loss_and_needs_no_restart(caplog: pytest.LogCaptureFixture) -> None:
    made = Fleet(joined=1, max_env_runner_restarts=0)
    while made.remote.clock() < 500:
        made.sample()
    counts = made.fleet.statistics()
    assert (counts.num_runners, counts.num_runner_restarts, counts.num_lost_rows) == (1, 0, 0)
    assert not lines(caplog, "lost")


def test_a_seat_that_is_lost_costs_its_rows_and_no_restart_and_is_taken_by_the_next_one() -> None:
    made = Fleet(joined=2, max_env_runner_restarts=0)
    made.sample()
    made.remote.lose(1, in_s=0.5)
    assert made.sample() == [(0, 0, 1)]
    made.remote.join(1)
    made.remote.pass_time(2)
    assert made.sample() == [(0, 0, 2), (1, 1, 0)]
    counts = made.fleet.statistics()
    assert (counts.num_runner_restarts, counts.num_lost_rows) == (0, 10)


def test_who_comes_and_goes_is_counted() -> None:
    made = Fleet(joined=2, others=1)
    made.sample()
    made.remote.lose(1, in_s=0.5)
    made.sample()
    counts = made.fleet.statistics()
    assert (counts.num_runners, counts.num_farm_runners) == (2, 1)
    assert (counts.num_joined, counts.num_left) == (2, 1)
    made.remote.lose(0, in_s=0.5)  # which the run has started itself
    made.remote.join(1)
    made.sample()
    made.sample()
    counts = made.fleet.statistics()
    assert (counts.num_runners, counts.num_farm_runners) == (3, 2)
    assert (counts.num_joined, counts.num_left) == (3, 1)


def test_who_leaves_after_his_last_fragment_costs_nothing() -> None:
    made = Fleet(joined=2)
    made.sample()
    made.remote.leave(1)
    assert made.sample() == [(0, 0, 1)]
    assert made.fleet.statistics().num_lost_rows == 0


def test_where_all_are_gone_others_are_waited_for() -> None:
    made = Fleet(joined=1)
    made.sample()
    made.remote.lose(0, in_s=0.5)
    made.remote.join(1, in_s=100)
    assert made.sample() == [(1, 0, 0)]
    assert made.remote.clock() == 104.0


def test_a_runner_that_fails_leaves_its_seat_and_the_others_go_on() -> None:
    made = Fleet(joined=2)
    made.sample()
    made.remote.fail(1, ArithmeticError("scripted"))
    assert made.sample() == [(0, 0, 1)]
    assert made.sample() == [(0, 0, 2)]


def test_a_silent_runner_is_sent_away_again_and_again_and_never_ends_the_run() -> None:
    made = Fleet(joined=2, max_env_runner_restarts=0)
    made.sample()
    for _ in range(3):
        made.remote.hang(1)
        while made.fleet.statistics().num_runners == 2:
            made.sample()
        made.remote.join(1)
        made.remote.pass_time(2)
        made.sample()
    assert [start for start in made.remote.starts if start[0] == 1] == [(1, 0), (1, 1), (1, 2), (1, 3)]


def test_where_all_who_come_are_too_slow_the_run_ends_and_they_are_told_why() -> None:
    made = Fleet(joined=1, max_env_runner_restarts=1)
    for delay_s in range(1, 200):
        made.remote.join(0, in_s=delay_s)
    made.remote.slow(0, seconds=21)
    with pytest.raises(RunnersLostError, match=r"runner 0 was lost 2 times .* nothing for 20 s"):
        made.sample()
    assert [index for index, _ in made.remote.told] == [0, 0]
    assert "raise that or lower rollout_fragment_length" in made.remote.told[0][1]


def test_farms_that_come_and_go_never_end_the_run_for_it() -> None:
    made = Fleet(joined=1, max_env_runner_restarts=0)
    made.sample()
    for _ in range(3):
        made.remote.lose(0, in_s=0.5)
        made.remote.join(0, in_s=2)
        made.sample()
    assert made.fleet.statistics().num_left == 3


def test_who_does_not_become_ready_in_time_loses_his_seat() -> None:
    made = Fleet(joined=1)
    made.sample()
    made.remote.join(1)
    made.remote.pass_time(0)
    made.remote.hang(1)
    while made.remote.starts[-1] != (1, 1):
        made.sample()
    assert made.remote.clock() == pytest.approx(23, abs=2)


def test_of_more_than_are_wanted_the_first_fragments_are_taken() -> None:
    made = Fleet(num_seats=3, joined=3, num_env_runners=2, min_runners=3)
    made.remote.slow(0, seconds=9)
    assert made.sample() == [(1, 0, 0), (2, 0, 0)]
    assert made.remote.clock() == 2.0


def test_fragments_that_an_update_did_not_need_join_the_next() -> None:
    made = Fleet(num_seats=3, joined=3, num_env_runners=2, min_runners=3)
    made.remote.slow(2, seconds=1.5)
    assert made.sample() == [(0, 0, 0), (1, 0, 0)]
    assert made.sample() == [(0, 0, 1), (2, 0, 0)]


def test_with_many_more_than_are_wanted_all_take_part_and_none_is_older_than_two_updates() -> None:
    made = Fleet(num_seats=8, joined=8, num_env_runners=2, min_runners=8)
    who: set[int] = set()
    for _ in range(10):
        made.version += 1
        fragments = made.fleet.sample(numbered_weights(made.version))
        assert len(fragments) == 2
        who |= {sampled_by(each)[0] for each in fragments}
        assert all(made.version - each.summary.policy_version <= 2 for each in fragments)
    assert who == set(range(8))


def test_runners_that_the_run_starts_and_those_that_come_work_together() -> None:
    made = Fleet(num_seats=2, others=2, max_env_runner_restarts=0)
    made.remote.join(2, in_s=0.5)
    assert made.sample() == [(0, 0, 0), (1, 0, 0)]
    assert made.sample() == [(0, 0, 1), (1, 0, 1), (2, 0, 0)]


def test_who_has_joined_a_resumed_run_goes_on_from_his_state_and_others_start_afresh() -> None:
    made, resumed = Fleet(joined=2, min_runners=2), Fleet(joined=1)
    made.sample()
    resumed.fleet.set_state(made.fleet.get_state())
    resumed.remote.join(1)
    resumed.remote.pass_time(2)
    assert resumed.sample() == [(0, 0, 1), (1, 1, 0)]


def test_nobody_who_joins_a_run_that_is_resumed_is_sent_away() -> None:
    made, resumed = Fleet(joined=1), Fleet(joined=2)
    made.sample()
    resumed.fleet.set_state(made.fleet.get_state())
    resumed.sample()
    assert sorted(resumed.remote.starts) == [(0, 1), (1, 1)]
    assert resumed.fleet.statistics().num_left == 0


def test_who_was_refused_or_cut_off_is_among_the_statistics() -> None:
    made = Fleet(joined=1)
    made.remote.admission = replace(made.remote.admission, num_refused=3, num_cut_off=2, num_duplicates=1)
    counts = made.fleet.statistics()
    assert (counts.num_refused, counts.num_cut_off, counts.num_duplicates) == (3, 2, 1)


def test_an_asynchronous_fleet_asks_nobody_before_enough_have_joined() -> None:
    made = Fleet(joined=1, min_runners=2)
    fleet = AsyncRunnerFleet(
        remote := FakeRunners(NumberedRunner, 2, seats=(0, 1)),
        made.settings,
        num_steps=10,
        clock=remote.clock,
    )
    remote.join(0)
    fleet.offer(numbered_weights(0))
    assert fleet.collect(at_most=1, timeout_s=20) == []
    assert not remote.num_asked
    remote.join(1)
    assert len(fleet.collect(at_most=1, timeout_s=20)) == 1
