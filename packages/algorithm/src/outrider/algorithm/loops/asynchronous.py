"""The loop of algorithms whose runners and learners never wait for one another: IMPALA and APPO.

    runners ---- fragments, as references ----> this loop ----> learners, each with a queue
       ^                                                              |
       +--------------- weights, as soon as there are newer -----------+

Runners sample without pause with the newest weights that they hold; learners take from their queue
without pause. The loop moves references between the two and reads none. Where the queue is full it
takes no more fragments, and runners whose fragments are not taken stop: nothing piles up.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from outrider.algorithm.loops.iteration import Iteration, LearnerWork
from outrider.algorithm.loops.lost_weights import give
from outrider.envrunner import AsyncRunnerPool, WaitInterruptedError
from outrider.learner import AsyncLearnerGroup, UpdateReport
from outrider.transport import FragmentReference, WeightsReference
from outrider.wire import FragmentSummary

WAIT_S = 0.02
"""Longest wait for one side before the other one is looked at again."""
LONGEST_TURN_S = 1.0
"""A turn that takes longer made lost learners anew, which has deadlines of its own."""


class StalledError(RuntimeError):
    """The learners take no fragments and finish no update."""


class AsynchronousLoop:
    """Keeps every runner and every learner busy; obeys `TrainingLoop`."""

    def __init__(
        self,
        runners: AsyncRunnerPool,
        learners: AsyncLearnerGroup,
        *,
        min_time_s: float,
        patience_s: float,
    ) -> None:
        """Make iterations of at least `min_time_s`; give up where an update takes over `patience_s`.

        Runners that deliver nothing are the pool's to give up.
        """
        self._runners = runners
        self._learners = learners
        self._min_time_s = min_time_s
        self._patience_s = patience_s
        self._num_restarts = 0
        self._is_settled = True
        self._weights = learners.publish()

    def iterate(self) -> Iteration:
        """Collect, learn and publish, all at once, for a while and until an update was made.

        An interruption may end it without one. Raises WaitInterruptedError where nothing came in, either.
        """
        started = time.perf_counter()
        turned, idle_s = started, 0.0
        summaries, reports = list[FragmentSummary](), list[UpdateReport]()
        self._offer(self._weights)
        while not reports or time.perf_counter() - started < self._min_time_s:
            room = self._learners.room
            fragments: Sequence[FragmentReference] = ()
            if room:
                try:
                    fragments = self._runners.collect(at_most=room, timeout_s=WAIT_S)
                except WaitInterruptedError:
                    if not summaries and not reports:
                        raise
                    break  # learners may train on what came in, so that it is counted
                self._is_settled &= not fragments
                self._learners.put(fragments)
            learned = self._learners.reports(timeout_s=0.0 if room else WAIT_S)
            newest = learned[-1].weights if learned else self._learners.publish()
            if newest.version > self._weights.version:  # also without a report: ranks that went back
                self._offer(newest)
            summaries += [fragment.summary for fragment in fragments]
            reports += learned
            turn_s, turned = time.perf_counter() - turned, time.perf_counter()
            idle_s = 0.0 if room or learned else idle_s + min(turn_s, LONGEST_TURN_S)
            self._check_patience(idle_s)
        self._num_restarts += sum(report.num_restarts for report in reports)
        return Iteration(
            summaries=summaries,
            metrics=reports[-1].metrics if reports else {},
            learners=_sum_up(reports, self._num_restarts),
            runners=self._runners.statistics(),
            total_s=time.perf_counter() - started,
        )

    @property
    def weights(self) -> WeightsReference:
        """After the newest update that was reported, or that `settle` waited for."""
        return self._weights

    def settle(self) -> None:
        """Let the learners finish what they were handed; runners hear of it in the next iteration."""
        if not self._is_settled:
            self._learners.learn_what_was_put()
            self._weights = self._learners.publish()
            self._is_settled = True

    def republish(self) -> None:
        """Let runners know of policies that were added or removed between two iterations."""
        self._offer(self._learners.publish())

    def interrupt(self) -> None:
        """Wait for no runner that has not started."""
        self._runners.interrupt()

    def get_state(self) -> dict[str, Any]:
        """Return the learners' state, and what keeps later runners from playing an episode again."""
        return {"learner": self._learners.get_state(), "runners": self._runners.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; fragments that were under way are not in it."""
        self._learners.set_state(state["learner"])
        self._runners.set_state(state["runners"])
        self._weights = self._learners.publish()

    def _offer(self, weights: WeightsReference) -> None:
        _, self._weights = give(weights, self._runners.offer, self._learners)

    def _check_patience(self, idle_s: float) -> None:
        """Raise StalledError where the learners took nothing and learned nothing for so long."""
        if idle_s > self._patience_s:
            raise StalledError(
                f"the learners finished no update within {self._patience_s:g} s; raise learner_timeout_s if "
                "one may take longer"
            )


def _sum_up(reports: Sequence[UpdateReport], num_restarts: int) -> LearnerWork:
    staleness: Counter[int] = Counter()
    for report in reports:
        staleness.update(report.staleness)
    num_updates = sum(report.num_updates for report in reports)
    return LearnerWork(
        work_s=sum(report.work_s for report in reports),
        wait_s=sum(report.wait_s for report in reports),
        num_updates=num_updates,
        queue_depth=sum(report.queue_depth * report.num_updates for report in reports) / max(1, num_updates),
        staleness=dict(staleness),
        num_stale_rows=sum(report.num_stale_rows for report in reports),
        num_lost_updates=sum(report.num_lost_updates for report in reports),
        num_lost_rows=sum(report.num_lost_rows for report in reports),
        num_restarts=num_restarts,
    )
