"""How runners and learners spent a stretch of time, as shares of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outrider.algorithm.loops.iteration import Iteration


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """Each from 0 to 1, mean over runners or over learners."""

    environment: float
    """Runners stepped environments."""
    policy: float
    """Runners chose actions."""
    runner_work: float
    """Runners worked: environment, policy, and putting fragments together."""
    learner_work: float
    learner_wait: float
    """Learners had nothing to learn from."""
    env_step_s: float = 0.0
    """No share: seconds that one step of one environment copy took its runner."""

    @property
    def runner_wait(self) -> float:
        """Runners had nothing to do."""
        return 1.0 - self.runner_work


def shares_of(iterations: Sequence[Iteration]) -> Shares:
    """Return the shares of all these iterations taken together.

    Fragments and updates count in the iteration in which they came in; where they were begun long
    before, the sum is more than the time there was, and is cut to it.
    """
    total_s = sum(one.total_s for one in iterations)
    runner_s = sum(one.total_s * one.runners.num_runners for one in iterations)
    summaries = [summary for one in iterations for summary in one.summaries]
    work_s = sum(one.statistics.total_s for one in summaries)
    environment_s = sum(one.statistics.environment_s for one in summaries)
    runner_s = max(runner_s, work_s)
    learner_work_s = sum(one.learners.work_s for one in iterations)
    learner_wait_s = sum(one.learners.wait_s for one in iterations)
    learner_s = max(total_s, learner_work_s + learner_wait_s)
    return Shares(
        environment=_share(environment_s, runner_s),
        policy=_share(sum(one.statistics.policy_s for one in summaries), runner_s),
        runner_work=_share(work_s, runner_s),
        learner_work=_share(learner_work_s, learner_s),
        learner_wait=_share(learner_wait_s, learner_s),
        env_step_s=environment_s / max(1, sum(one.num_rows for one in summaries)),
    )


def mean_share(results: Sequence[Mapping[str, Any]], name: str) -> float:
    """Return the mean of a share that iterations reported, each weighing as much as it lasted."""
    total_s: float = sum(result["iteration_s"] for result in results)
    weighted: float = sum(result[name] * result["iteration_s"] for result in results)
    return weighted / total_s


def _share(part_s: float, whole_s: float) -> float:
    return min(1.0, part_s / whole_s) if whole_s > 0 else 0.0
