"""Learners of a service that are ranks on Ray: on its node, or on the cluster that RAY_ADDRESS names."""

from __future__ import annotations

import logging

import ray

from outrider.learner.groups.group import AsyncLearnerGroup, LearnerGroup
from outrider.learner.groups.learned_policies import LearnedPolicies
from outrider.learner.plans.group_settings import LearnerGroupSettings
from outrider.learner.plans.learner_plan import LearnerPlan
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.ray_groups.ray_async_learners import RayAsyncLearnerGroup
from outrider.learner.ray_groups.ray_learners import RayLearnerGroup
from outrider.learner.ray_groups.ray_policy_ranks import make_async_policy_ranks, make_policy_ranks
from outrider.learner.ray_groups.ray_ranks import Options
from outrider.learner.service.served_groups import asynchronous, intake_of

_RUN = "learner-service"


class RayGroups:
    """Makes so many learners for each run; obeys `ServedGroups`."""

    def __init__(self, num_learners: int) -> None:
        """Join the Ray that RAY_ADDRESS names, or start one for as long as this process lives."""
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
        self.num_learners = num_learners

    def make(self, plan: LearnerPlan) -> LearnerGroup:
        self._check(plan.settings)
        return RayLearnerGroup(
            plan, num_learners=self.num_learners, options=_options(plan.settings), run=_RUN
        )

    def make_async(self, plan: LearnerPlan) -> AsyncLearnerGroup:
        training = asynchronous(plan)
        self._check(plan.settings)
        return RayAsyncLearnerGroup(
            plan,
            num_learners=self.num_learners,
            options=_options(plan.settings),
            train_batch_size=training.train_batch_size_per_learner * self.num_learners,
            max_staleness=training.max_staleness,
            queue_capacity=training.learner_queue_size,
            run=_RUN,
        )

    def make_policies(self, plan: MultiAgentPlan) -> tuple[LearnerGroup, LearnedPolicies]:
        self._check(plan.settings)
        options = _options(plan.settings)
        return make_policy_ranks(plan, num_learners=self.num_learners, options=options, run=_RUN)

    def make_async_policies(self, plan: MultiAgentPlan) -> tuple[AsyncLearnerGroup, LearnedPolicies]:
        intake = intake_of(plan)
        self._check(plan.settings)
        options = _options(plan.settings)
        return make_async_policy_ranks(
            plan, intake, num_learners=self.num_learners, options=options, run=_RUN
        )

    def close(self) -> None:
        ray.shutdown()

    def _check(self, settings: LearnerGroupSettings) -> None:
        """Raise ValueError where Ray does not have what the learners ask for: they would wait for it."""
        there = ray.cluster_resources()  # type: ignore[no-untyped-call]
        for name, each in (("CPU", settings.num_cpus_per_learner), ("GPU", settings.num_gpus_per_learner)):
            asked, available = each * self.num_learners, there.get(name, 0.0)
            if asked > available:
                raise ValueError(
                    f"{self.num_learners} learners with {each:g} {name} each ask for {asked:g}, and the "
                    f"service's Ray has {available:g}; lower num_{name.lower()}s_per_learner, or start the "
                    "service with fewer learners"
                )


def _options(settings: LearnerGroupSettings) -> Options:
    asked = {"num_cpus": settings.num_cpus_per_learner, "num_gpus": settings.num_gpus_per_learner}
    return lambda _: asked
