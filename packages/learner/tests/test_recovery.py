"""A group whose rank died goes back to its newest snapshot, and its versions only grow."""

import logging

import pytest

from outrider.learner.groups.recovery import Recovery


def recovery(*, max_restarts: int = 2) -> Recovery:
    return Recovery({"version": 0}, num_updates_between_snapshots=3, max_restarts=max_restarts)


def test_a_snapshot_is_due_after_so_many_updates() -> None:
    learners = recovery()
    due = []
    for version in range(1, 5):
        learners.learned(version)
        due.append(learners.is_due)
    assert due == [False, False, True, True]
    learners.keep({"version": 3})
    assert not learners.is_due


def test_lost_updates_are_counted_and_versions_go_on_after_the_newest_that_was_seen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    learners = recovery()
    learners.keep({"version": 30, "module": "as it was"})
    learners.learned(37)
    assert learners.go_back("learner 1 is gone") == {"version": 38, "module": "as it was"}
    assert (learners.num_restarts, learners.num_lost_updates) == (1, 7)
    assert "go back by 7 updates, to their newest snapshot, because learner 1 is gone" in caplog.text


def test_going_back_twice_to_the_same_snapshot_loses_nothing_more() -> None:
    learners = recovery()
    learners.learned(2)
    learners.go_back("once")
    assert learners.go_back("and again") == {"version": 4}
    assert (learners.num_restarts, learners.num_lost_updates) == (2, 2)


def test_a_state_of_ranks_that_went_back_and_reported_nothing_yet_is_the_newest() -> None:
    learners = recovery()
    learners.learned(6)
    learners.keep({"version": 7})
    assert learners.go_back("the service is gone") == {"version": 8}
    assert learners.num_lost_updates == 0


def test_too_many_restarts_without_an_update_in_between_end_in_a_sentence() -> None:
    learners = recovery(max_restarts=1)
    for version in (1, 3, 5):
        learners.go_back("learner 0 is gone")
        learners.learned(version)
    learners.go_back("learner 0 is gone")
    with pytest.raises(
        RuntimeError, match=r"lost 2 times in a row.*learner 0 is gone.*max_learner_restarts=1"
    ):
        learners.go_back("learner 0 is gone")
