"""Makes the learners of several policies that are at a learner service."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from outrider.algorithm.assembly.farm_assembly import packed_as
from outrider.learner.plans.multi_agent_plan import Intake, MultiAgentPlan
from outrider.learner.service.service_async_learners import ServiceAsyncLearnerGroup
from outrider.learner.service.service_learners import ServiceLearnerGroup
from outrider.learner.service.service_security import client_security
from outrider.learner.training.vtrace_settings import VTraceSettings

if TYPE_CHECKING:
    from outrider.algorithm.settings.run_settings import RunSettings
    from outrider.learner import AsyncLearnerGroup, LearnerGroup
    from outrider.learner.groups.learned_policies import LearnedPolicies


def policy_learners_at_service(
    plan: MultiAgentPlan, settings: RunSettings
) -> tuple[LearnerGroup, LearnedPolicies]:
    """Find learners that train when they are told to, and what changes their policies."""
    group = ServiceLearnerGroup(plan, **_whereabouts(settings))
    return group, group.policies


def async_policy_learners_at_service(
    plan: MultiAgentPlan, settings: RunSettings, *, num_env_steps_per_fragment: int
) -> tuple[AsyncLearnerGroup, LearnedPolicies]:
    """Find learners that train by themselves, and what changes their policies."""
    training = settings.training
    assert isinstance(training, VTraceSettings)
    intake = Intake(
        train_batch_size=training.train_batch_size_per_learner,
        num_env_steps_per_fragment=num_env_steps_per_fragment,
        max_staleness=training.max_staleness,
        queue_capacity=training.learner_queue_size,
    )
    group = ServiceAsyncLearnerGroup(replace(plan, intake=intake), **_whereabouts(settings))
    return group, group.policies


def _whereabouts(settings: RunSettings) -> dict[str, Any]:
    """Say where the service is, what it is shown, and what it needs to read fragments."""
    return {
        "address": settings.learners.learner_address,
        "security": client_security(settings.learners, os.environ),
        "needs": packed_as(settings.env_runners),
    }
