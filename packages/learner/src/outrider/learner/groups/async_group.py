"""One learner that trains by itself in a thread of the calling process. Free of torch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, TypeVar

from outrider.learner.groups.group import LearnerGroupStatistics, UpdateReport
from outrider.learner.groups.learner_loop import LearnerLoop
from outrider.learner.learner import Learner, StateTree
from outrider.learner.rows.portions import Portion, Portions
from outrider.transport import FragmentReference, LocalWeights, WeightsReference

R = TypeVar("R")


class LocalAsyncLearnerGroup:
    """Obeys `AsyncLearnerGroup` without another process."""

    def __init__(
        self,
        learner: Learner,
        *,
        train_batch_size: int,
        max_staleness: int,
        queue_capacity: int,
        timeout_s: float = 600.0,
        num_ranks: int = 1,
        num_steps_per_fragment: int | None = None,
        deal: Callable[[Portion], Sequence[FragmentReference]] = attrgetter("fragments"),
    ) -> None:
        """Take the learner over and let `queue_capacity` updates wait.

        `timeout_s` is the longest wait for an update to end. Where the learner is one of
        `num_ranks`, `deal` hands the shards of a portion to the others and returns its own. Steps per
        fragment are as `Portions` has them.
        """
        self._learner = learner
        self._deal = deal
        self._timeout_s = timeout_s
        self._weights: WeightsReference = LocalWeights(learner.publish())
        self._portions = Portions(
            train_batch_size=train_batch_size,
            max_staleness=max_staleness,
            capacity=queue_capacity,
            version=self._weights.version,
            num_ranks=num_ranks,
            num_steps_per_fragment=num_steps_per_fragment,
        )
        self._num_done = 0
        """Portions that reports have told of."""
        self._num_lost = 0
        """Portions that made no version, as the others know."""
        self._loop: LearnerLoop[LocalWeights] = LearnerLoop(
            learner, publish=lambda: LocalWeights(learner.publish())
        )

    @property
    def room(self) -> int:
        self._portions.begun(self._loop.num_begun - self._num_done)
        return self._portions.room

    def put(self, fragments: Sequence[FragmentReference]) -> None:
        check_room(len(fragments), self.room)
        before, self._num_lost = self._num_lost, self._loop.num_lost
        self._portions.count_lost(self._num_lost - before)
        for portion in self._portions.add(fragments):
            self._loop.put(self._deal(portion))

    def reports(self, timeout_s: float) -> list[UpdateReport]:
        report = self._loop.report(timeout_s)
        if report is None:
            return []
        num_done, self._num_done = report.num_done - self._num_done, report.num_done
        self._weights = max(self._weights, report.weights, key=attrgetter("version"))
        learned = self._portions.learned(num_done)
        told = report_of(
            learned,
            self._portions,
            metrics=report.metrics,
            weights=report.weights,
            work_s=report.work_s,
            wait_s=report.wait_s,
            queue_depth=report.queue_depth,
            num_lost_rows=report.num_lost_rows,
        )
        return [replace(told, num_updates=report.num_updates, num_rows=told.num_rows - report.num_lost_rows)]

    def publish(self) -> WeightsReference:
        return self._weights

    def learn_what_was_put(self) -> None:
        self._weights = self._loop.between_updates(
            lambda: LocalWeights(self._learner.publish()), self._timeout_s
        )

    def get_state(self) -> StateTree:
        return self._loop.between_updates(self._learner.get_state, self._timeout_s)

    def set_state(self, state: StateTree) -> None:
        self._weights = self._loop.between_updates(lambda: self._take_over(state), self._timeout_s)
        self._portions.restart(self._weights.version)
        self._num_lost = self._loop.num_lost

    def between_updates(self, function: Callable[[], R]) -> R:
        """Call `function`, which may change the learner, after all that was put; return its result."""
        done, self._weights = self._loop.between_updates(
            lambda: (_outcome(function), LocalWeights(self._learner.publish())), self._timeout_s
        )
        self._portions.go_on_at(self._weights.version)
        self._num_lost = self._loop.num_lost
        return done()

    def close(self) -> None:
        self._loop.close()

    def _take_over(self, state: StateTree) -> LocalWeights:
        self._learner.set_state(state)
        return LocalWeights(self._learner.publish())


def _outcome(function: Callable[[], R]) -> Callable[[], R]:
    """Call `function`; return what returns its result, or raises what it raised, to who asked for it."""
    try:
        result = function()
    except Exception as error:  # noqa: BLE001 - it would end the thread that trains
        raised = error

        def fail() -> R:
            raise raised

        return fail
    return lambda: result


def check_room(num_fragments: int, room: int) -> None:
    """Raise ValueError where there are more fragments than room."""
    if num_fragments > room:
        raise ValueError(
            f"{num_fragments} fragments for a learner that has room for {room}; collect at most `room`"
        )


def report_of(learned: Sequence[Portion], portions: Portions, **told: Any) -> UpdateReport:  # noqa: ANN401
    """Report updates, of which `told` is all that `portions`, which they were cut from, do not know."""
    staleness: Counter[int] = Counter()
    for portion in learned:
        staleness.update(portion.staleness)
    return UpdateReport(
        num_updates=len(learned),
        num_rows=sum(portion.num_rows for portion in learned),
        staleness=dict(staleness),
        num_fragments=sum(portion.num_taken for portion in learned),
        num_stale_rows=portions.take_num_stale_rows(),
        **told,
    )


def hear_first(
    hear: Callable[[float], bool], unread: list[UpdateReport], timeout_s: float
) -> list[UpdateReport]:
    """Take the unread reports, once there is one, and wait for it up to `timeout_s`.

    `hear` waits up to so many seconds for one answer of the ranks, which may add a report, and tells
    whether one came.
    """
    deadline = time.monotonic() + timeout_s
    while not unread:
        left_s = deadline - time.monotonic()
        if not hear(max(0.0, left_s)) and left_s <= 0:
            break
    reports = unread.copy()
    unread.clear()
    return reports


def hear_all(
    hear: Callable[[float], bool],
    portions: Portions,
    timeout_s: float,
    statistics: Callable[[], LearnerGroupStatistics],
) -> None:
    """Wait until every portion is learned from. Raises TimeoutError where an update takes longer.

    Learners that were made anew meanwhile, as `statistics` say, have their time anew.
    """
    deadline = time.monotonic() + timeout_s
    while portions.num_dealt:
        before = portions.num_dealt, statistics().num_restarts
        hear(max(0.0, deadline - time.monotonic()))
        if (portions.num_dealt, statistics().num_restarts) != before:
            deadline = time.monotonic() + timeout_s
        elif time.monotonic() >= deadline:
            raise TimeoutError(
                f"the learners finished no update within {timeout_s:g} s; raise learner_timeout_s, or see to "
                "their processes"
            )
