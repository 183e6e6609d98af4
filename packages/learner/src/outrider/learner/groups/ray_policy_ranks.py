"""Makes ranks on Ray that train several policies: they are dealt to ranks, or the rows of each are.

Policies are dealt, which costs no sums, unless that would leave a rank without one to train. Which it is, is
settled when ranks are made, and stays while policies come, go and rest.
"""

from __future__ import annotations

from dataclasses import replace

from outrider.learner.groups.async_slice_learners import AsyncSliceLearnerGroup
from outrider.learner.groups.group import AsyncLearnerGroup, LearnerGroup
from outrider.learner.groups.multi_agent_plan import Intake, MultiAgentPlan
from outrider.learner.groups.ray_async_learners import RayAsyncLearnerGroup
from outrider.learner.groups.ray_learners import RayLearnerGroup
from outrider.learner.groups.ray_policies import RayPolicies
from outrider.learner.groups.ray_ranks import Options, RayRanks
from outrider.learner.groups.slice_learners import SliceLearnerGroup


def make_policy_ranks(
    plan: MultiAgentPlan, *, num_learners: int, options: Options, run: str
) -> tuple[LearnerGroup, RayPolicies]:
    """Make ranks that train when they are told to, and what changes their policies."""
    plan = for_ranks(plan, num_learners)
    if plan.shares_rows:
        together = RayLearnerGroup(plan, num_learners=num_learners, options=options, run=run)
        return together, RayPolicies(together, plan)
    apart = SliceLearnerGroup(RayRanks(plan, num_ranks=num_learners, options=options, run=run), plan)
    return apart, RayPolicies(apart, plan)


def make_async_policy_ranks(
    plan: MultiAgentPlan, intake: Intake, *, num_learners: int, options: Options, run: str
) -> tuple[AsyncLearnerGroup, RayPolicies]:
    """Make ranks that train without pause, and what changes their policies."""
    plan = for_ranks(plan, num_learners)
    taken_in = {
        "train_batch_size": intake.train_batch_size * num_learners,
        "max_staleness": intake.max_staleness,
        "queue_capacity": intake.queue_capacity,
        "num_steps_per_fragment": intake.num_env_steps_per_fragment,
    }
    if plan.shares_rows:
        together = RayAsyncLearnerGroup(plan, num_learners=num_learners, options=options, run=run, **taken_in)
        return together, RayPolicies(together, plan)
    ranks = RayRanks(plan, num_ranks=num_learners, options=options, run=run)
    apart = AsyncSliceLearnerGroup(ranks, plan, **taken_in)
    return apart, RayPolicies(apart, plan)


def for_ranks(plan: MultiAgentPlan, num_learners: int) -> MultiAgentPlan:
    """Return the plan in which so many ranks all have something to train."""
    return replace(plan, shares_rows=plan.would_idle(num_learners))
