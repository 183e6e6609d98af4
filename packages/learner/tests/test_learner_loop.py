"""The loop that trains without pause, step by step: its fakes stop where a test tells them to."""

import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from queue import Queue
from typing import Any, TypeVar

import numpy as np
import pytest

from outrider.learner import LearnerLoop, LocalAsyncLearnerGroup, LocalLearnerGroup
from outrider.transport import LocalFragment
from outrider.wire import EpisodeStatistics, Fragment, Streams, Weights

T = TypeVar("T")
LONG = 20.0
"""Seconds after which a wait is stuck; none of them is waited for."""


def fragment(version: int = 0, num_rows: int = 10) -> LocalFragment:
    none = np.zeros(0, np.int64)
    return LocalFragment(
        Fragment(
            streams=Streams(lengths=np.array([num_rows]), policy=none, environment=none, agent=none),
            observations={},
            actions={},
            rewards=np.zeros(num_rows, np.float32),
            terminated=np.zeros(num_rows, np.bool_),
            truncated=np.zeros(num_rows, np.bool_),
            next_rows=none,
            next_observations={},
            action_log_probs=np.zeros(num_rows, np.float32),
            policy_version=np.array([version]),
            episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=none),
        )
    )


@dataclass
class SteppedLearner:
    """Begins an update and waits until the test ends it."""

    begun: Queue[int] = field(default_factory=Queue)
    """Numbers of updates that began."""
    loaded: Queue[int] = field(default_factory=Queue)
    """Rows of each portion that was loaded."""
    go_on: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    version: int = 0
    num_published: int = 0
    trained: list[tuple[int, int]] = field(default_factory=list)
    """Rows of each update, and the version of its oldest fragment."""
    on_load: Callable[[], None] = lambda: None
    on_update: Callable[[], None] = lambda: None

    def load(self, fragments: Sequence[Fragment]) -> Any:
        self.on_load()
        rows = sum(each.num_rows for each in fragments)
        self.loaded.put(rows)
        return rows, min(int(each.policy_version.min()) for each in fragments)

    def update_rows(self, rows: Any) -> dict[str, float]:
        self.begun.put(self.version)
        assert self.go_on.acquire(timeout=LONG)
        self.on_update()
        self.trained.append(rows)
        self.version += 1
        return {"loss": float(self.version)}

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        return self.update_rows(self.load(fragments))

    def publish(self) -> Weights:
        self.num_published += 1
        return Weights(version=self.version, fingerprint="", tensors={})

    def get_state(self) -> dict[str, Any]:
        return {"version": self.version}

    def set_state(self, state: dict[str, Any]) -> None:
        self.version = state["version"]


@pytest.fixture
def learner() -> SteppedLearner:
    return SteppedLearner()


@pytest.fixture
def group(learner: SteppedLearner) -> Iterator[LocalAsyncLearnerGroup]:
    group = LocalAsyncLearnerGroup(learner, train_batch_size=20, max_staleness=2, queue_capacity=2)
    yield group
    learner.go_on.release(100)
    group.close()
    assert not any(thread.is_alive() for thread in group._loop._threads)


def put_each(group: LocalAsyncLearnerGroup, num_fragments: int) -> None:
    for _ in range(num_fragments):
        group.put([fragment()])


def test_an_update_begins_once_there_are_enough_rows(
    group: LocalAsyncLearnerGroup, learner: SteppedLearner
) -> None:
    group.put([fragment()])
    assert group.reports(0) == []
    group.put([fragment(num_rows=13)])
    learner.go_on.release()
    (report,) = group.reports(LONG)
    assert (report.num_updates, report.num_rows, report.weights.version) == (1, 23, 1)
    assert report.metrics == {"loss": 1.0}
    assert report.staleness == {0: 2}


def test_the_next_portion_is_loaded_while_one_trains_and_no_further_one(
    group: LocalAsyncLearnerGroup, learner: SteppedLearner
) -> None:
    put_each(group, 4)
    learner.begun.get(timeout=LONG)
    put_each(group, 2)
    assert [learner.loaded.get(timeout=LONG) for _ in range(2)] == [20, 20]
    learner.go_on.release()
    learner.begun.get(timeout=LONG)
    assert learner.loaded.get(timeout=LONG) == 20


def test_a_learner_slower_than_its_runners_queues_no_more_than_its_capacity_and_loses_nothing(
    group: LocalAsyncLearnerGroup, learner: SteppedLearner
) -> None:
    num_rows, num_put = 0, 0
    for update in range(6):
        while group.room:  # runners are always faster
            group.put([fragment(version=group.publish().version)])
            num_put += 1
        assert learner.begun.get(timeout=LONG) == update
        assert group.room <= 4
        learner.go_on.release()
        (report,) = group.reports(LONG)
        num_rows += report.num_rows
        assert report.num_stale_rows == 0
        assert max(report.staleness) <= 2
    assert num_rows == 6 * 20
    assert num_put <= 6 * 2 + 4


def test_what_would_be_too_old_when_its_turn_comes_is_thrown_away_and_counted(
    group: LocalAsyncLearnerGroup, learner: SteppedLearner
) -> None:
    learner.go_on.release(5)
    for version in range(3):
        group.put([fragment(version), fragment(version)])
        assert sum(report.num_updates for report in group.reports(LONG)) == 1
    group.put([fragment(0), fragment(1), fragment(3)])
    (report,) = group.reports(LONG)
    assert report.num_stale_rows == 10
    assert report.staleness == {2: 1, 0: 1}


def test_a_portion_of_many_fragments_comes_together(learner: SteppedLearner) -> None:
    group = LocalAsyncLearnerGroup(learner, train_batch_size=50, max_staleness=0, queue_capacity=1)
    learner.go_on.release()
    for room in (1, 4, 3, 2, 1):
        assert group.room == room
        group.put([fragment()])
    assert group.reports(LONG)[0].num_rows == 50
    group.close()


def test_more_fragments_than_there_is_room_for_are_refused(group: LocalAsyncLearnerGroup) -> None:
    with pytest.raises(ValueError, match="3 fragments for a learner that has room for 2"):
        group.put([fragment()] * 3)


def test_weights_are_published_only_for_who_takes_them(
    group: LocalAsyncLearnerGroup, learner: SteppedLearner
) -> None:
    for update in range(3):
        group.put([fragment(update)] * 2)
        learner.go_on.release()
        assert learner.begun.get(timeout=LONG) == update
    assert group._loop.between_updates(lambda: learner.num_published, LONG) == 1  # at the start
    (report,) = group.reports(LONG)
    assert (report.num_updates, learner.num_published) == (3, 2)


def test_a_report_says_how_long_the_learner_worked_and_waited_and_what_lay_waiting(
    group: LocalAsyncLearnerGroup, learner: SteppedLearner
) -> None:
    put_each(group, 2)
    learner.begun.get(timeout=LONG)
    put_each(group, 4)
    learner.go_on.release(3)
    reports: list[Any] = []
    while sum(report.num_updates for report in reports) < 3:
        reports += group.reports(LONG)
    assert sum(report.work_s for report in reports) > 0
    assert sum(report.wait_s for report in reports) > 0
    depth = sum(report.queue_depth * report.num_updates for report in reports)
    assert depth == 2  # none at the first and third, two at the second


@pytest.mark.parametrize("kind", ["on_load", "on_update"])
def test_what_either_thread_raises_reaches_the_caller_with_its_traceback(
    group: LocalAsyncLearnerGroup, learner: SteppedLearner, kind: str
) -> None:
    def fail_far_away() -> None:
        raise ArithmeticError("a bad number")

    setattr(learner, kind, fail_far_away)
    learner.go_on.release()
    put_each(group, 2)
    with pytest.raises(ArithmeticError, match="a bad number") as caught:
        group.reports(LONG)
    assert "fail_far_away" in "".join(traceback.format_exception(caught.value))
    with pytest.raises(ArithmeticError, match="a bad number"):
        put_each(group, 2)
    with pytest.raises(ArithmeticError, match="a bad number"):
        group.get_state()


def test_a_state_is_that_after_all_that_was_put_before(
    group: LocalAsyncLearnerGroup, learner: SteppedLearner
) -> None:
    learner.go_on.release(2)
    put_each(group, 4)
    assert group.get_state() == {"version": 2}


def test_what_was_put_is_waited_for_and_its_weights_are_published_before_they_are_reported(
    group: LocalAsyncLearnerGroup, learner: SteppedLearner
) -> None:
    learner.go_on.release(2)
    put_each(group, 4)
    group.learn_what_was_put()
    assert group.publish().version == 2
    (report,) = group.reports(LONG)
    assert (report.num_updates, group.publish().version) == (2, 2)


def test_a_group_goes_on_from_a_state(group: LocalAsyncLearnerGroup, learner: SteppedLearner) -> None:
    group.set_state({"version": 40})
    assert group.publish().version == 40
    learner.go_on.release()
    for version in (39, 37, 38):
        group.put([fragment(version)])
    (report,) = group.reports(LONG)
    assert (report.weights.version, report.num_stale_rows, report.staleness) == (41, 10, {1: 1, 2: 1})


def test_who_changes_the_learner_between_updates_waits_for_what_was_put_and_makes_fragments_older(
    group: LocalAsyncLearnerGroup, learner: SteppedLearner
) -> None:
    def change() -> int:
        learner.version += 10
        return learner.version

    group.reports(0)  # a report is made as soon as an update has ended
    learner.go_on.release(2)
    put_each(group, 2)
    assert group.between_updates(change) == 11
    (report,) = group.reports(LONG)
    assert report.weights.version == 1
    assert group.publish().version == 11, "an earlier report undid the change"
    for version in (9, 8, 11):
        group.put([fragment(version)])
    (report,) = group.reports(LONG)
    assert (report.weights.version, report.num_stale_rows, report.staleness) == (12, 10, {2: 1, 0: 1})


def test_rows_of_all_architectures_are_counted(learner: SteppedLearner) -> None:
    loop = LearnerLoop(learner, publish=learner.publish)
    part = fragment(num_rows=4).load()
    loop.put([LocalFragment(replace(part, others=(fragment(num_rows=3).load(),)))])
    learner.go_on.release()
    report = loop.report(LONG)
    loop.close()
    assert report is not None
    assert report.num_rows == 7


def test_a_busy_learner_has_a_deadline_for_its_pause(learner: SteppedLearner) -> None:
    loop = LearnerLoop(learner, publish=learner.publish)
    loop.put([fragment()])
    with pytest.raises(TimeoutError, match="no pause between two updates within 0 s"):
        loop.between_updates(learner.get_state, 0)
    learner.go_on.release()
    loop.close()
    loop.close()
    with pytest.raises(ValueError, match="closed"):
        loop.put([fragment()])


def test_the_deadline_begins_anew_with_each_update_that_ends(
    learner: SteppedLearner, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Condition(threading.Condition):
        """Lets one update end for each wait that has a deadline."""

        def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
            if timeout is not None:
                learner.go_on.release()
            return super().wait_for(predicate, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(threading, "Condition", Condition)
        loop = LearnerLoop(learner, publish=learner.publish)
    for _ in range(3):
        loop.put([fragment()])
    assert loop.between_updates(learner.get_state, 2.0) == {"version": 3}
    loop.close()


class Gone:
    """A fragment that went with its node."""

    def __init__(self, version: int = 0) -> None:
        self.summary = fragment(version).summary

    def load(self) -> Fragment:
        raise ConnectionError("a fragment is gone from Ray's object store")


def test_a_learner_here_leaves_out_and_counts_what_went_with_its_node(learner: SteppedLearner) -> None:
    learner.go_on.release()
    group = LocalLearnerGroup(learner)
    assert group.update([Gone()]) == {}
    assert group.update([Gone(), fragment(num_rows=4)]) == {"loss": 1.0}
    assert learner.trained == [(4, 0)]
    assert group.statistics().num_lost_rows == 20


def test_a_learner_that_never_waits_leaves_it_out_too_and_its_versions_stay_known(
    learner: SteppedLearner,
) -> None:
    group = LocalAsyncLearnerGroup(learner, train_batch_size=10, max_staleness=0, queue_capacity=2)
    learner.go_on.release(3)
    group.put([Gone()])
    group.between_updates(lambda: None)
    group.put([fragment(0, num_rows=4), Gone()])
    (report,) = group.reports(LONG)
    assert (report.num_updates, report.num_rows, report.num_lost_rows) == (1, 4, 20)
    assert (report.num_fragments, report.weights.version) == (3, 1)
    group.put([Gone(1)])
    group.get_state()  # once that is over
    group.put([fragment(1)])
    (report,) = group.reports(LONG)
    assert (report.num_updates, report.num_stale_rows, report.num_fragments) == (1, 0, 2)
    group.close()
