"""Makes ranks on Ray that train several policies: they are dealt to ranks, or the rows of each are.

Policies are dealt, which costs no sums, unless that would leave a rank without one to train. Which it is, is
settled when ranks are made, and stays while policies come, go and rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from outrider.learner.multi_agent_plan import Intake, MultiAgentPlan
from outrider.learner.ray_async_learners import RayAsyncLearnerGroup
from outrider.learner.ray_async_slice_learners import RayAsyncSliceLearnerGroup
from outrider.learner.ray_learners import RayLearnerGroup
from outrider.learner.ray_policies import RayPolicies
from outrider.learner.ray_ranks import Options
from outrider.learner.ray_slice_learners import RaySliceLearnerGroup

Ranks: TypeAlias = RayLearnerGroup | RaySliceLearnerGroup
AsyncRanks: TypeAlias = RayAsyncLearnerGroup | RayAsyncSliceLearnerGroup


def make_policy_ranks(
    plan: MultiAgentPlan, *, num_learners: int, options: Options, run: str
) -> tuple[Ranks, RayPolicies]:
    """Make ranks that train when they are told to, and what changes their policies."""
    plan = for_ranks(plan, num_learners)
    kind = RayLearnerGroup if plan.shares_rows else RaySliceLearnerGroup
    group = kind(plan, num_learners=num_learners, options=options, run=run)
    return group, RayPolicies(group, plan)


def make_async_policy_ranks(
    plan: MultiAgentPlan, intake: Intake, *, num_learners: int, options: Options, run: str
) -> tuple[AsyncRanks, RayPolicies]:
    """Make ranks that train without pause, and what changes their policies."""
    plan = for_ranks(plan, num_learners)
    kind = RayAsyncLearnerGroup if plan.shares_rows else RayAsyncSliceLearnerGroup
    group = kind(
        plan,
        num_learners=num_learners,
        options=options,
        train_batch_size=intake.train_batch_size * num_learners,
        max_staleness=intake.max_staleness,
        queue_capacity=intake.queue_capacity,
        num_steps_per_fragment=intake.num_env_steps_per_fragment,
        run=run,
    )
    return group, RayPolicies(group, plan)


def for_ranks(plan: MultiAgentPlan, num_learners: int) -> MultiAgentPlan:
    """Return the plan in which so many ranks all have something to train."""
    return replace(plan, shares_rows=plan.would_idle(num_learners))
