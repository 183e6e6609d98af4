"""Makes the learners that a service trains with, and one learner in its own process."""

from __future__ import annotations

from typing import Protocol

import torch

from outrider.learner.groups.async_group import LocalAsyncLearnerGroup
from outrider.learner.groups.group import AsyncLearnerGroup, LearnerGroup, LocalLearnerGroup
from outrider.learner.groups.learned_policies import BetweenUpdates, LearnedPolicies, PoliciesHere
from outrider.learner.learner import Learner
from outrider.learner.plans.device import choose_device
from outrider.learner.plans.learner_plan import LearnerPlan
from outrider.learner.plans.multi_agent_plan import Intake, MultiAgentPlan
from outrider.learner.ranks import OneRank
from outrider.learner.stacks.multi_agent_learner import MultiAgentLearner
from outrider.learner.training.vtrace_settings import VTraceSettings


class ServedGroups(Protocol):
    """Where a service gets the learners of a run from."""

    @property
    def num_learners(self) -> int:
        """How many train together."""
        ...

    def make(self, plan: LearnerPlan) -> LearnerGroup:
        """Make learners that are told when to train; raises ValueError where the plan does not fit here."""
        ...

    def make_async(self, plan: LearnerPlan) -> AsyncLearnerGroup:
        """Make learners that train by themselves; raises ValueError where the plan does not fit here."""
        ...

    def make_policies(self, plan: MultiAgentPlan) -> tuple[LearnerGroup, LearnedPolicies]:
        """Make learners of several policies that are told when to train; raises ValueError as above."""
        ...

    def make_async_policies(self, plan: MultiAgentPlan) -> tuple[AsyncLearnerGroup, LearnedPolicies]:
        """Make learners of several policies that train by themselves; raises ValueError as above."""
        ...

    def close(self) -> None:
        """End what was started for all runs."""
        ...


class OneLearner:
    """Makes learners in this process; obeys `ServedGroups`."""

    num_learners = 1

    def make(self, plan: LearnerPlan) -> LearnerGroup:
        return LocalLearnerGroup(_learner(plan))

    def make_async(self, plan: LearnerPlan) -> AsyncLearnerGroup:
        training = asynchronous(plan)
        return LocalAsyncLearnerGroup(
            _learner(plan),
            train_batch_size=training.train_batch_size_per_learner,
            max_staleness=training.max_staleness,
            queue_capacity=training.learner_queue_size,
            timeout_s=plan.settings.learner_timeout_s,
        )

    def make_policies(self, plan: MultiAgentPlan) -> tuple[LearnerGroup, LearnedPolicies]:
        learner = _policy_learner(plan)
        group = LocalLearnerGroup(learner)
        return group, _policies_of(plan, learner, group)

    def make_async_policies(self, plan: MultiAgentPlan) -> tuple[AsyncLearnerGroup, LearnedPolicies]:
        intake = intake_of(plan)
        learner = _policy_learner(plan)
        group = LocalAsyncLearnerGroup(
            learner,
            train_batch_size=intake.train_batch_size,
            max_staleness=intake.max_staleness,
            queue_capacity=intake.queue_capacity,
            timeout_s=plan.settings.learner_timeout_s,
            num_steps_per_fragment=intake.num_env_steps_per_fragment,
        )
        return group, _policies_of(plan, learner, group)

    def close(self) -> None:
        """Do nothing."""


def _policy_learner(plan: MultiAgentPlan) -> MultiAgentLearner:
    torch.set_num_threads(max(1, int(plan.settings.num_cpus_per_learner)))
    return plan.make_learner(OneRank(), choose_device(plan.settings))


def _policies_of(plan: MultiAgentPlan, learner: MultiAgentLearner, group: BetweenUpdates) -> LearnedPolicies:
    device = choose_device(plan.settings)
    return PoliciesHere(learner, group, algorithm=plan.algorithm, seed=plan.seed, device=device)


def asynchronous(plan: LearnerPlan) -> VTraceSettings:
    """Return the training settings of an algorithm that trains by itself; raises ValueError for another."""
    if not isinstance(plan.training, VTraceSettings):
        raise ValueError(f"{plan.algorithm} does not train by itself; ask for its updates")
    return plan.training


def intake_of(plan: MultiAgentPlan) -> Intake:
    """Return what learners that train by themselves take in; raises ValueError where the plan has none."""
    if plan.intake is None:
        raise ValueError(f"{plan.algorithm} does not train by itself; ask for its updates")
    return plan.intake


def _learner(plan: LearnerPlan) -> Learner:
    torch.set_num_threads(max(1, int(plan.settings.num_cpus_per_learner)))
    return plan.make_learner(OneRank(), choose_device(plan.settings))
