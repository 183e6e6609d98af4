"""What a fleet does when runners are lost, late or wrong, in counts worked out by hand.

A start takes one second, a fragment another, and has 10 rows.
"""

from __future__ import annotations

import math
from typing import Any

import pytest

from outrider.envrunner import EnvRunnerSettings, PoolStatistics, RunnerFleet, RunnersLostError
from outrider.testing.fake_runners import FakeRunners
from outrider.testing.numbered_runner import NumberedRunner, numbered_weights, sampled_by
from outrider.transport import LocalFragment
from outrider.wire import Fragment


class Fleet:
    """A fleet over fake runners, with what is said to both."""

    def __init__(self, num_runners: int = 2, **settings: Any) -> None:
        self.remote = FakeRunners(NumberedRunner, num_runners)
        settings = {"sample_timeout_s": 10.0, "runner_start_timeout_s": 20.0, **settings}
        self.fleet = RunnerFleet(
            self.remote, EnvRunnerSettings(**settings), num_steps=10, clock=self.remote.clock
        )
        self.version = 0

    def sample(self) -> list[tuple[int, int, int]]:
        """Sample with the next version; return who sampled, in which incarnation, and its how manieth."""
        self.version += 1
        return [sampled_by(fragment) for fragment in self.fleet.sample(numbered_weights(self.version))]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Restarts, lost rows, late fragments."""
        counts = self.fleet.statistics()
        return counts.num_runner_restarts, counts.num_lost_rows, counts.num_late_fragments


def test_all_runners_start_and_sample_at_once() -> None:
    made = Fleet(num_runners=3)
    assert made.sample() == [(0, 0, 0), (1, 0, 0), (2, 0, 0)]
    assert made.remote.clock() == 2.0
    assert made.fleet.statistics() == PoolStatistics(num_runners=3)


def test_the_order_is_that_of_the_runners_whoever_is_first() -> None:
    made = Fleet()
    made.remote.slow(0, seconds=5)
    assert made.sample() == [(0, 0, 0), (1, 0, 0)]


def test_what_a_lost_runner_was_asked_for_is_counted_and_not_waited_for() -> None:
    made = Fleet()
    made.sample()
    made.remote.lose(1, in_s=0.5)
    assert made.sample() == [(0, 0, 1)]
    assert made.remote.clock() == 3.0
    assert made.counts == (1, 10, 0)


def test_a_lost_runner_comes_back_with_the_next_update_as_another_incarnation() -> None:
    made = Fleet()
    made.sample()
    made.remote.lose(1, in_s=0.5)
    made.sample()
    made.remote.pass_time(1)
    assert made.sample() == [(0, 0, 2), (1, 1, 0)]


def test_where_no_runner_is_left_the_first_one_to_come_back_is_waited_for() -> None:
    made = Fleet(num_runners=1)
    made.sample()
    made.remote.lose(0, in_s=0.5)
    assert made.sample() == [(0, 1, 0)]
    assert made.remote.clock() == 4.5


def test_a_runner_that_starts_while_nobody_listens_has_its_time_from_when_it_is_heard_of() -> None:
    made = Fleet()
    made.sample()
    made.remote.slow(0, seconds=0.5)
    made.remote.lose(1)
    assert made.sample() == [(0, 0, 1)]
    made.remote.place(1, ready_in_s=1000)
    made.remote.pass_time(30)  # an update, longer than the start may take
    made.remote.place(1, ready_in_s=15)
    assert made.sample() == [(0, 0, 2)]
    made.remote.pass_time(18)
    assert made.sample() == [(0, 0, 3), (1, 1, 0)]
    assert made.counts == (1, 0, 0)


def test_half_of_the_runners_lost_at_once_cost_their_rows_only() -> None:
    made = Fleet(num_runners=4)
    made.sample()
    for index in (1, 3):
        made.remote.lose(index, in_s=0.5)
    assert made.sample() == [(0, 0, 1), (2, 0, 1)]
    assert made.counts == (2, 20, 0)


def test_a_straggler_is_left_behind_and_joins_the_next_update() -> None:
    made = Fleet()
    made.remote.slow(1, seconds=12)
    assert made.sample() == [(0, 0, 0)]
    assert made.remote.clock() == 11.0
    made.remote.slow(0, seconds=3)
    assert made.sample() == [(0, 0, 1), (1, 0, 0)]
    assert made.counts == (0, 0, 1)


def test_a_straggler_that_comes_between_updates_samples_again_with_the_next() -> None:
    made = Fleet()
    made.remote.slow(1, seconds=12)
    made.sample()
    made.remote.pass_time(5)
    made.remote.slow(1, seconds=1)
    assert made.sample() == [(0, 0, 1), (1, 0, 0), (1, 0, 1)]
    assert made.counts == (0, 0, 1)


def test_a_runner_that_never_answers_is_made_anew_after_twice_the_time() -> None:
    made = Fleet()
    made.sample()
    made.remote.hang(1)
    made.sample()
    assert made.counts == (0, 0, 0)
    made.remote.slow(0, seconds=9)
    made.sample()
    made.sample()
    assert made.counts == (1, 10, 0)
    assert made.remote.starts[-1] == (1, 1)


def test_the_only_runner_is_waited_for_beyond_the_time_that_stragglers_have() -> None:
    made = Fleet(num_runners=1)
    made.remote.slow(0, seconds=15)
    assert made.sample() == [(0, 0, 0)]
    assert made.remote.clock() == 16.0


def test_a_runner_that_is_lost_again_and_again_stops_the_run() -> None:
    made = Fleet(num_runners=1, max_env_runner_restarts=2)
    made.sample()
    made.remote.lose(0)
    made.remote.lose_starts(0, 2)
    with pytest.raises(RunnersLostError, match=r"runner 0 was lost 3 times .* max_env_runner_restarts is 2"):
        made.sample()


def test_a_fragment_forgives_the_losses_before_it() -> None:
    made = Fleet(num_runners=1, max_env_runner_restarts=1)
    for _ in range(3):
        made.sample()
        made.remote.lose(0)
    assert made.sample() == [(0, 3, 0)]


def test_runners_rest_longer_the_more_often_they_are_lost() -> None:
    made = Fleet(num_runners=1)
    made.remote.lose_starts(0, 4)
    made.sample()
    # 5 starts and a fragment of a second each; pauses of 0, 0.5, 1 and 2 seconds
    assert made.remote.clock() == 6 + 3.5


def test_where_no_runner_is_ever_ready_nobody_waits_for_ten_restarts() -> None:
    made = Fleet()
    for index in range(2):
        made.remote.hang(index)
    with pytest.raises(TimeoutError, match=r"no runner could be started. Of runner 0: .* room for it"):
        made.sample()
    assert made.remote.clock() == 21.0


def test_where_there_is_room_for_no_runner_the_run_ends_and_says_what_they_wait_for() -> None:
    made = Fleet()
    for index in range(2):
        made.remote.take_room(index, for_s=math.inf, told_after_s=20)
    with pytest.raises(TimeoutError, match=r"could be started. Of runner 0: the moon is taken$"):
        made.sample()


def test_a_runner_that_waits_for_room_is_no_loss_and_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    made = Fleet(max_env_runner_restarts=1)
    made.sample()
    made.remote.take_room(1, for_s=500, told_after_s=20)
    made.remote.lose(1)
    while made.fleet.statistics().num_runners == 1 or made.remote.clock() < 100:
        made.sample()
    assert made.remote.clock() == pytest.approx(503, abs=2)
    assert made.counts == (1, 0, 0)
    told = [record.getMessage() for record in caplog.records if "room" in record.getMessage()]
    assert told == ["the run goes on without runner 1 until there is room for it: the moon is taken"]


def test_a_runner_that_nobody_samples_beside_may_not_wait_for_room_for_ever() -> None:
    made = Fleet(max_env_runner_restarts=2)
    made.sample()
    for index in range(2):
        made.remote.take_room(index, for_s=math.inf, told_after_s=20)
        made.remote.lose(index)
    with pytest.raises(RunnersLostError, match=r"was lost 3 times .* the last time the moon is taken"):
        made.sample()


def test_a_runner_that_does_not_become_ready_is_made_anew() -> None:
    made = Fleet()
    made.remote.hang(1)
    assert made.sample() == [(0, 0, 0)]
    assert made.remote.clock() == 22.0
    assert made.counts == (1, 0, 0)


def test_what_a_runner_raises_is_raised_and_the_rest_is_kept() -> None:
    made = Fleet()
    made.sample()
    made.remote.fail(1, ArithmeticError("scripted"))
    with pytest.raises(ArithmeticError, match="scripted"):
        made.sample()
    assert (0, 0, 1) in made.sample()
    assert made.counts == (1, 10, 0)


def test_runners_sample_the_next_fragments_while_the_learners_learn() -> None:
    made = Fleet(sample_ahead=True)
    made.sample()
    made.remote.pass_time(1)
    before = made.remote.clock()
    assert made.sample() == [(0, 0, 1), (1, 0, 1)]
    assert made.remote.clock() == before


def test_a_runner_that_was_lost_while_it_sampled_ahead_comes_back_with_the_next_update() -> None:
    made = Fleet(sample_ahead=True)
    made.sample()
    made.remote.lose(1)
    assert made.sample() == [(0, 0, 1)]
    assert made.sample() == [(0, 0, 2), (1, 1, 0)]


def test_a_late_fragment_is_saved_and_joins_the_update_after_resuming() -> None:
    made, resumed = Fleet(), Fleet()
    made.remote.slow(1, seconds=12)
    made.sample()
    resumed.fleet.set_state(made.fleet.get_state())
    assert resumed.sample() == [(0, 0, 1), (1, 0, 0), (1, 0, 1)]


def test_a_runner_that_was_down_when_its_fleet_was_saved_starts_afresh() -> None:
    made, resumed = Fleet(), Fleet()
    made.sample()
    made.remote.lose(1)
    state = made.fleet.get_state()
    assert state["runners"] == [{"incarnation": 0, "num_sampled": 1}, None]
    resumed.fleet.set_state(state)
    assert resumed.sample() == [(0, 0, 1), (1, 1, 0)]


def test_a_runner_that_cannot_be_asked_for_its_state_is_made_anew() -> None:
    made = Fleet()
    made.sample()
    made.remote.hang(1)
    assert made.fleet.get_state()["runners"][1] is None
    assert made.sample() == [(0, 0, 1)]
    assert made.sample() == [(0, 0, 2), (1, 1, 0)]


def test_a_runner_that_is_lost_while_it_is_restored_starts_afresh() -> None:
    made, resumed = Fleet(), Fleet()
    made.sample()
    resumed.sample()
    resumed.remote.lose(1)
    resumed.fleet.set_state(made.fleet.get_state())
    assert resumed.sample()[0] == (0, 0, 1)
    assert resumed.remote.starts[-1] == (1, 1)


def test_a_state_of_another_number_of_runners_is_refused() -> None:
    with pytest.raises(ValueError, match="is of 2 runners and this pool has 3; resume with"):
        Fleet(num_runners=3).fleet.set_state(Fleet().fleet.get_state())


def test_closing_ends_the_runners_whatever_they_are_at() -> None:
    made = Fleet(sample_ahead=True)
    made.sample()
    made.fleet.close()
    made.fleet.close()
    assert made.remote.is_closed


def test_a_fragment_that_went_with_its_node_does_not_keep_the_others_out_of_a_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, load = Fleet(sample_ahead=True), LocalFragment.load
    made.sample()

    def load_of_a_lost_node(fragment: LocalFragment) -> Fragment:
        loaded = load(fragment)
        if loaded.rewards[0] == 1:  # of runner 1
            raise ConnectionError("a fragment is gone from Ray's object store")
        return loaded

    monkeypatch.setattr(LocalFragment, "load", load_of_a_lost_node)
    assert [each["runner"] for each in made.fleet.get_state()["fragments"]] == [0]
