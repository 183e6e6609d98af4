"""Makes what several policies learn in: a learner in this process, at a service, or ranks on Ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider.learner import LocalLearnerGroup, OneRank, choose_device
from outrider.learner.groups.async_group import LocalAsyncLearnerGroup
from outrider.learner.groups.learned_policies import PoliciesHere
from outrider.learner.plans.multi_agent_plan import Intake, MultiAgentPlan
from outrider.learner.training.vtrace_settings import VTraceSettings

if TYPE_CHECKING:
    import torch

    from outrider.algorithm.assembly.multi_agent_blueprint import MultiAgentBlueprint
    from outrider.algorithm.cluster.ray_cluster import Cluster
    from outrider.learner import AsyncLearnerGroup, LearnerGroup, LearnerGroupSettings, MultiAgentLearner
    from outrider.learner.groups.learned_policies import BetweenUpdates, LearnedPolicies


def make_policy_learners(
    blueprint: MultiAgentBlueprint, cluster: Cluster | None, *, run_name: str
) -> tuple[LearnerGroup, LearnedPolicies]:
    """Make learners that train when they are told to, and what changes their policies."""
    if blueprint.settings.learners.learner_address is not None:
        from outrider.algorithm.assembly.policy_service import policy_learners_at_service

        return policy_learners_at_service(plan_of(blueprint), blueprint.settings)
    if cluster is None or not num_ranks(blueprint):
        learner = learner_here(blueprint)
        group = LocalLearnerGroup(learner)
        return group, policies_here(blueprint, learner, group)
    from outrider.learner.ray_groups.ray_policy_ranks import make_policy_ranks

    return make_policy_ranks(
        plan_of(blueprint),
        num_learners=num_ranks(blueprint),
        options=cluster.learner_options,
        run=run_name,
    )


def make_async_policy_learners(
    blueprint: MultiAgentBlueprint, cluster: Cluster | None, *, run_name: str
) -> tuple[AsyncLearnerGroup, LearnedPolicies]:
    """Make learners that train without pause, and what changes their policies."""
    training = blueprint.settings.training
    assert isinstance(training, VTraceSettings)
    if blueprint.settings.learners.learner_address is not None:
        from outrider.algorithm.assembly.policy_service import async_policy_learners_at_service

        return async_policy_learners_at_service(
            plan_of(blueprint),
            blueprint.settings,
            num_env_steps_per_fragment=blueprint.num_env_steps_per_fragment,
        )
    if cluster is not None and num_ranks(blueprint):
        from outrider.learner.ray_groups.ray_policy_ranks import make_async_policy_ranks

        return make_async_policy_ranks(
            plan_of(blueprint),
            Intake(
                train_batch_size=training.train_batch_size_per_learner,
                num_env_steps_per_fragment=blueprint.num_env_steps_per_fragment,
                max_staleness=training.max_staleness,
                queue_capacity=training.learner_queue_size,
            ),
            num_learners=num_ranks(blueprint),
            options=cluster.learner_options,
            run=run_name,
        )
    learner = learner_here(blueprint)
    group = LocalAsyncLearnerGroup(
        learner,
        train_batch_size=training.train_batch_size_per_learner,
        max_staleness=training.max_staleness,
        queue_capacity=training.learner_queue_size,
        timeout_s=blueprint.settings.learners.learner_timeout_s,
        num_steps_per_fragment=blueprint.num_env_steps_per_fragment,
    )
    return group, policies_here(blueprint, learner, group)


def learner_here(blueprint: MultiAgentBlueprint) -> MultiAgentLearner:
    """Make one learner of all policies."""
    return plan_of(blueprint).make_learner(OneRank(), _device(blueprint.settings.learners))


def plan_of(blueprint: MultiAgentBlueprint) -> MultiAgentPlan:
    """Say what learners of these policies are made of."""
    return MultiAgentPlan(
        algorithm=blueprint.settings.algorithm,
        stacks=tuple(
            blueprint.assemblies[policies[0].planned].learner_plan(name, policies)
            for name, policies in blueprint.book.by_stack().items()
        ),
        frozen=blueprint.frozen,
        settings=blueprint.settings.learners,
        seed=blueprint.seed,
    )


def num_ranks(blueprint: MultiAgentBlueprint) -> int:
    """Return how many learners there are in processes of Ray's."""
    num_learners = blueprint.settings.learners.num_learners
    assert num_learners != "auto"
    return num_learners


def policies_here(
    blueprint: MultiAgentBlueprint, learner: MultiAgentLearner, group: BetweenUpdates
) -> LearnedPolicies:
    """Return what changes the policies of a learner in this process, which is the group's."""
    return PoliciesHere(
        learner,
        group,
        algorithm=blueprint.settings.algorithm,
        seed=blueprint.seed,
        device=_device(blueprint.settings.learners),
    )


def _device(settings: LearnerGroupSettings) -> torch.device:
    """Return where the learner of this process computes; a GPU of learners elsewhere is not for it."""
    import torch

    is_elsewhere = settings.num_learners or settings.learner_address is not None
    return torch.device("cpu") if is_elsewhere else choose_device(settings)
