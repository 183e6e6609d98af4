"""The loop of algorithms that learn from what the newest policy did: collect, learn, publish."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from outrider.algorithm.loops.iteration import Iteration, LearnerWork
from outrider.algorithm.loops.lost_weights import give
from outrider.envrunner import RunnerPool
from outrider.learner import LearnerGroup, LearnerGroupStatistics
from outrider.transport import WeightsReference


class SynchronousLoop:
    """Waits for all runners, then for the learners, and so on; obeys `TrainingLoop`.

    From one seed it gives the same weights wherever runners and learners are.
    """

    def __init__(self, runners: RunnerPool, learners: LearnerGroup) -> None:
        """Take parts that were just made, or whose state is set next."""
        self._runners = runners
        self._learners = learners
        self._weights = learners.publish()
        self._before = LearnerGroupStatistics()

    def iterate(self) -> Iteration:
        """Collect, learn, publish."""
        started = time.perf_counter()
        fragments, self._weights = give(self._weights, self._runners.sample, self._learners)
        sampled = time.perf_counter()
        metrics = self._learners.update(fragments)
        self._weights = self._learners.publish()
        ended = time.perf_counter()
        return Iteration(
            summaries=[fragment.summary for fragment in fragments],
            metrics=metrics,
            learners=self._work(ended - sampled, sampled - started, num_updates=int(bool(metrics))),
            runners=self._runners.statistics(),
            total_s=ended - started,
        )

    @property
    def weights(self) -> WeightsReference:
        """After the newest update."""
        return self._weights

    def republish(self) -> None:
        """Let policies that were added or removed between two iterations be known in the next."""
        self._weights = self._learners.publish()

    def settle(self) -> None:
        """Do nothing: whatever was collected is learned from."""

    def interrupt(self) -> None:
        """Wait for no runner that has not started."""
        self._runners.interrupt()

    def get_state(self) -> dict[str, Any]:
        """Return all that the next iterations depend on."""
        return {"learner": self._learners.get_state(), "runners": self._runners.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on as if nothing had been in between."""
        self._learners.set_state(state["learner"])
        self._runners.set_state(state["runners"])
        self._weights = self._learners.publish()

    def _work(self, work_s: float, wait_s: float, *, num_updates: int) -> LearnerWork:
        now, before = self._learners.statistics(), self._before
        self._before = now
        return LearnerWork(
            work_s=work_s,
            wait_s=wait_s,
            num_updates=num_updates,
            num_restarts=now.num_restarts,
            num_lost_updates=now.num_lost_updates - before.num_lost_updates,
            num_lost_rows=now.num_lost_rows - before.num_lost_rows,
        )
