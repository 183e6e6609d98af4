"""Makes ranks on Ray that train several policies: they are dealt to ranks, or the rows of each are.

Policies are dealt, which costs no sums, unless that would leave a rank without one to train. Which it is, is
settled when ranks are made, and stays while policies come, go and rest.
"""

from __future__ import annotations

import cloudpickle

from outrider.learner.groups.group import AsyncLearnerGroup, LearnerGroup
from outrider.learner.groups.group_policies import ChangingRanks, GroupPolicies
from outrider.learner.plans.multi_agent_plan import Intake, MultiAgentPlan
from outrider.learner.ray_groups.ray_async_learners import RayAsyncLearnerGroup
from outrider.learner.ray_groups.ray_learners import RayLearnerGroup
from outrider.learner.ray_groups.ray_ranks import Options, RayRanks
from outrider.learner.slices.async_slice_learners import AsyncSliceLearnerGroup
from outrider.learner.slices.slice_learners import SliceLearnerGroup


def make_policy_ranks(
    plan: MultiAgentPlan, *, num_learners: int, options: Options, run: str
) -> tuple[LearnerGroup, GroupPolicies]:
    """Make ranks that train when they are told to, and what changes their policies."""
    plan = plan.for_ranks(num_learners)
    if plan.shares_rows:
        together = RayLearnerGroup(plan, num_learners=num_learners, options=options, run=run)
        return together, _changing(together, plan)
    apart = SliceLearnerGroup(RayRanks(plan, num_ranks=num_learners, options=options, run=run), plan)
    return apart, _changing(apart, plan)


def make_async_policy_ranks(
    plan: MultiAgentPlan, intake: Intake, *, num_learners: int, options: Options, run: str
) -> tuple[AsyncLearnerGroup, GroupPolicies]:
    """Make ranks that train without pause, and what changes their policies."""
    plan = plan.for_ranks(num_learners)
    taken_in = {
        "train_batch_size": intake.train_batch_size * num_learners,
        "max_staleness": intake.max_staleness,
        "queue_capacity": intake.queue_capacity,
        "num_steps_per_fragment": intake.num_env_steps_per_fragment,
    }
    if plan.shares_rows:
        together = RayAsyncLearnerGroup(plan, num_learners=num_learners, options=options, run=run, **taken_in)
        return together, _changing(together, plan)
    ranks = RayRanks(plan, num_ranks=num_learners, options=options, run=run)
    apart = AsyncSliceLearnerGroup(ranks, plan, **taken_in)
    return apart, _changing(apart, plan)


def _changing(group: ChangingRanks, plan: MultiAgentPlan) -> GroupPolicies:
    return GroupPolicies(group, plan, lambda stack: stack.to_message(cloudpickle.dumps))
