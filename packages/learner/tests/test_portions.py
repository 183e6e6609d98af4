"""What comes in is cut into portions whose age is known when they are cut."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from outrider.learner.rows.portions import Portions
from outrider.wire import EpisodeStatistics, Fragment, FragmentSummary, SamplingStatistics


@dataclass(frozen=True)
class Somewhere:
    """A fragment that is never loaded."""

    num_rows: int = 10
    num_streams: int = 1
    version: int = 0

    @property
    def summary(self) -> FragmentSummary:
        return FragmentSummary(
            num_rows=self.num_rows,
            num_streams=self.num_streams,
            policy_version=self.version,
            episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
            statistics=SamplingStatistics(),
        )

    def load(self) -> Fragment:
        raise AssertionError


def portions(**changes: Any) -> Portions:
    arguments: dict[str, Any] = {"train_batch_size": 20, "max_staleness": 1, "capacity": 2, "version": 0}
    return Portions(**arguments | changes)


def test_portions_are_as_old_as_they_will_be_when_their_turn_comes() -> None:
    cut = portions(max_staleness=9).add([Somewhere()] * 6)
    assert [(portion.version, portion.staleness) for portion in cut] == [
        (0, {0: 2}),
        (1, {1: 2}),
        (2, {2: 2}),
    ]


def test_the_age_of_what_waits_counts_against_the_bound() -> None:
    waiting = portions()
    assert len(waiting.add([Somewhere()] * 6)) == 2
    assert waiting.take_num_stale_rows() == 20
    assert waiting.take_num_stale_rows() == 0


def test_a_learner_that_was_changed_is_further_on() -> None:
    waiting = portions(train_batch_size=30, version=4)
    waiting.add([Somewhere(version=3), Somewhere(version=4)])
    waiting.go_on_at(5)
    (portion,) = waiting.add([Somewhere(version=4), Somewhere(version=5)])
    assert (portion.version, portion.staleness) == (5, {1: 2, 0: 1})
    assert (portion.num_taken, waiting.take_num_stale_rows()) == (4, 10)


def test_a_learner_that_counts_a_change_is_further_on_at_the_portion_that_grows() -> None:
    waiting = portions(max_staleness=9, train_batch_size=10)
    waiting.add([Somewhere(), Somewhere()])
    waiting.count_change()
    waiting.add([Somewhere()])
    assert [portion.version for portion in waiting.dealt] == [0, 1, 3]


def test_a_portion_has_a_stream_for_every_rank() -> None:
    waiting = portions(num_ranks=3)
    assert waiting.add([Somewhere(num_rows=50), Somewhere()]) == []
    (portion,) = waiting.add([Somewhere()])
    assert (portion.num_rows, len(portion.fragments)) == (70, 3)


def test_room_is_for_the_fragments_that_complete_the_portions_that_may_wait() -> None:
    waiting = portions(max_staleness=9)
    assert waiting.room == 2  # nobody knows yet how large fragments are: as large as an update, perhaps
    waiting.add([Somewhere()])
    assert waiting.room == 3
    waiting.add([Somewhere()] * 3)
    assert waiting.room == 0
    waiting.begun(1)
    assert waiting.room == 2
    waiting.add([Somewhere()])
    assert waiting.room == 1
    waiting.learned(1)
    assert (waiting.room, waiting.num_dealt) == (1, 1)


@pytest.mark.parametrize(("num_waiting", "room"), [(0, 1), (1, 9), (2, 8), (9, 1)])
def test_there_is_always_room_for_what_completes_a_portion(num_waiting: int, room: int) -> None:
    waiting = portions(train_batch_size=100, capacity=1)
    waiting.add([Somewhere()] * num_waiting)
    assert waiting.room == room


def test_fragments_larger_than_an_update_come_one_by_one() -> None:
    waiting = portions(train_batch_size=5, max_staleness=9)
    waiting.add([Somewhere()])
    assert waiting.room == 1
    waiting.add([Somewhere()])
    assert waiting.room == 0


def test_what_was_not_learned_from_is_cut_anew_for_learners_that_start_again() -> None:
    waiting = portions(max_staleness=5)
    waiting.add([Somewhere(version=0), Somewhere(version=3), Somewhere(version=3)])
    waiting.begun(1)
    (portion,) = waiting.add(waiting.restart(8))
    assert (portion.version, portion.staleness) == (8, {5: 2})
    assert waiting.take_num_stale_rows() == 10


def test_a_portion_counts_what_was_thrown_away_before_its_newest_fragment() -> None:
    waiting = portions()
    (first,) = waiting.add([Somewhere(), Somewhere()])
    (second,) = waiting.add([Somewhere(version=1), Somewhere(version=-1), Somewhere(version=1)])
    assert (first.num_taken, second.num_taken) == (2, 3)


def test_a_restart_counts_every_fragment_once() -> None:
    waiting = portions()
    waiting.add([Somewhere(version=-9), Somewhere(), Somewhere()])
    left = waiting.restart(version=0)
    waiting.lost(1)
    (portion,) = waiting.add([*left[1:], Somewhere()])
    assert portion.num_taken == 4


def test_with_several_agents_a_portion_is_counted_in_steps_and_not_in_rows() -> None:
    growing = portions(num_steps_per_fragment=10)
    assert not growing.add([Somewhere(num_rows=30)])  # three agents in each of ten steps
    assert [portion.num_rows for portion in growing.add([Somewhere(num_rows=0)])] == [30]


def test_a_portion_of_which_nothing_is_left_makes_no_version_and_its_fragments_are_done_with() -> None:
    waiting = portions(max_staleness=9)
    first, lost, _ = waiting.add([Somewhere()] * 6)
    assert waiting.cut_anew(lost, []) == []
    last = waiting.dealt[1]
    assert (waiting.dealt[0], last.version, last.staleness, last.num_taken) == (first, 1, {1: 2}, 4)
    (newest,) = waiting.add([Somewhere(version=2)] * 2)
    assert (newest.version, newest.staleness, newest.num_taken) == (2, {0: 2}, 2)


def test_what_is_left_of_a_portion_that_none_took_in_comes_last() -> None:
    waiting = portions(max_staleness=9)
    lost, _ = waiting.add([Somewhere()] * 4)
    assert waiting.cut_anew(lost, lost.fragments[:1]) == []
    (again,) = waiting.add([Somewhere(version=1)])
    assert (again.version, again.staleness) == (1, {1: 1, 0: 1})
    assert [each.num_taken for each in waiting.dealt] == [3, 2]


def test_portions_that_are_lost_one_after_the_other_are_all_counted() -> None:
    waiting = portions(max_staleness=9)
    for lost in waiting.add([Somewhere()] * 6):
        waiting.cut_anew(lost, [])
    (portion,) = waiting.add([Somewhere(), Somewhere()])
    assert (portion.version, portion.num_taken, waiting.num_dealt) == (0, 8, 1)
