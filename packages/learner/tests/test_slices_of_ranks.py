"""Ranks with policies of their own keep their own pace, and go back by themselves."""

import logging
from typing import Any

import numpy as np
import pytest

from outrider.learner.slices.slice_progress import SliceProgress
from outrider.learner.slices.slice_recovery import SliceRecovery
from outrider.learner.slices.slice_work import SliceWork


def state(version: int, num_policies: int = 2) -> dict[str, Any]:
    return {"version": version, "stacks": {"s": {"numbers": np.arange(num_policies)}}}


def recovery(**changes: Any) -> SliceRecovery:
    settings = {"num_updates_between_snapshots": 3, "max_restarts": 1} | changes
    return SliceRecovery([state(0), state(0, num_policies=1)], **settings)


def test_a_rank_goes_back_to_its_own_snapshot_and_the_others_lose_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    slices = recovery()
    slices.keep(0, state(3))
    for rank in (0, 1):
        slices.learned(rank, 5)
    assert slices.go_back(1, "learner 1 is gone", version=6) == state(6, num_policies=1)
    assert (slices.statistics().num_restarts, slices.statistics().num_lost_updates) == (1, 5)
    assert "go back by 5 updates of 1 policy, and of no other, to" in caplog.text
    slices.go_back(0, "learner 0 is gone", version=7)
    assert slices.statistics().num_lost_updates == 5 + 2
    assert "go back by 2 updates of 2 policies, and of no other, to" in caplog.text


def test_restarts_in_a_row_are_counted_for_each_rank() -> None:
    slices = recovery()
    slices.go_back(0, "gone", version=1)
    slices.go_back(1, "gone", version=1)
    with pytest.raises(RuntimeError, match="lost 2 times in a row"):
        slices.go_back(0, "gone", version=2)


def test_snapshots_are_due_when_that_of_any_rank_is_old() -> None:
    slices = recovery()
    slices.learned(0, 2)
    assert not slices.is_due
    slices.learned(1, 3)
    assert slices.is_due
    slices.keep(1, state(3))
    assert not slices.is_due


def test_the_group_has_learned_what_all_ranks_have() -> None:
    progress = SliceProgress(2, version=10)
    progress.learned(0, 3, 4)
    assert (progress.take_num_learned(), progress.num_begun) == (0, 0)
    progress.learned(1, 1, 2)
    assert (progress.take_num_learned(), progress.num_begun) == (1, 1)
    progress.learned(1, 4, 5)
    assert (progress.take_num_learned(), progress.num_begun) == (2, 1)


def test_a_rank_that_is_made_anew_gets_what_it_had_not_learned_from_at_a_version_it_never_had() -> None:
    progress = SliceProgress(2, version=10)
    progress.learned(0, 3, 4)
    progress.learned(1, 1, 2)
    progress.take_num_learned()
    assert progress.made_anew(0) == (2, 10 + 3 + 1)  # two of those that rank 1 still has before it
    progress.learned(0, 0, 1)
    progress.learned(1, 3, 4)
    assert (progress.take_num_learned(), progress.num_begun) == (2, 1)
    assert progress.made_anew(1) == (1, 10 + 4 + 2)  # and counts the restart of the other one


def test_counting_goes_on_where_all_ranks_have_learned_everything() -> None:
    progress = SliceProgress(2, version=10)
    for rank in (0, 1):
        progress.learned(rank, 3, 3)
    progress.take_num_learned()
    progress.made_anew(0)
    progress.restart(15)
    progress.learned(1, 1, 4)
    progress.learned(0, 2, 2)
    assert (progress.take_num_learned(), progress.num_begun) == (1, 0)
    assert progress.made_anew(0) == (1, 15 + 2 + 1)


def test_work_is_a_mean_over_ranks_and_metrics_are_the_newest_of_each() -> None:
    work = SliceWork(2)
    answer = {"num_updates": 2, "work_s": 3.0, "wait_s": 1.0, "queue_depth": 4.0, "metrics": {"x": 1.0}}
    work.add(1, answer)
    work.add(0, answer | {"metrics": {"x": 2.0}})
    work.add(0, answer | {"num_updates": 4, "queue_depth": 1.0, "metrics": {"x": 3.0}})
    taken = work.take()
    assert taken.metrics == ({"x": 3.0}, {"x": 1.0})
    assert (taken.work_s, taken.wait_s, taken.queue_depth) == (4.5, 1.5, (8.0 + 8.0 + 4.0) / 8)
    assert (work.take().work_s, work.take().metrics) == (0.0, taken.metrics)
