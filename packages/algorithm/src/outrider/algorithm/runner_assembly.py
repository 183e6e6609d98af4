"""Makes the runners of an algorithm: one in this process, or a fleet on Ray."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from outrider.algorithm.environment_elsewhere import environment_elsewhere
from outrider.envrunner import (
    AsyncRunnerFleet,
    EnvRunner,
    LocalRunnerPool,
    OnnxPolicy,
    RunnerFleet,
    RunnerPlan,
    TorchPolicy,
)
from outrider.rlmodule import PolicyNotExportable

if TYPE_CHECKING:
    from outrider.algorithm.blueprint import Blueprint
    from outrider.envrunner import ActingPolicy
    from outrider.envrunner.ray_runners import RayRunners
    from outrider.rlmodule import Policy
    from outrider.wire import PolicyGraph

MANY_RUNNERS = 8
"""From this number on starting them takes long enough to be announced."""

log = logging.getLogger(__name__)


def exported(policy: Policy) -> PolicyGraph | None:
    """Return how the policy acts without torch, or None, and say so, where that cannot be exported."""
    try:
        return policy.policy_graph()
    except PolicyNotExportable as error:
        log.warning("the policy acts through torch, which is slower: %s", error)
        return None


def acting_policies(policy: Policy, graph: PolicyGraph | None) -> Callable[[], ActingPolicy]:
    """Return what makes copies of the policy that act in this process."""
    if graph is None:
        return lambda: TorchPolicy(copy.deepcopy(policy).cpu())
    return lambda: OnnxPolicy(graph)


def make_runners(blueprint: Blueprint) -> LocalRunnerPool | RunnerFleet:
    """Make runners that are asked for one fragment after the other."""
    runners = blueprint.settings.env_runners
    if runners.num_env_runners:
        return RunnerFleet(_on_ray(blueprint), runners, num_steps=blueprint.num_steps)
    runner = EnvRunner(
        blueprint.settings.environment,
        runners,
        acting_policies(blueprint.policy, blueprint.graph)(),
        observation_space=blueprint.policy.observation_space,
        action_heads=blueprint.policy.action_heads,
        num_steps=blueprint.num_steps,
        seed=blueprint.seed,
    )
    return LocalRunnerPool(runner, sample_ahead=runners.sample_ahead)


def make_async_runners(blueprint: Blueprint) -> AsyncRunnerFleet:
    """Make runners that sample without pause."""
    settings = blueprint.settings.env_runners
    return AsyncRunnerFleet(_on_ray(blueprint), settings, num_steps=blueprint.num_steps)


def _on_ray(blueprint: Blueprint) -> RayRunners:
    from outrider.envrunner.ray_runners import RayRunners

    settings = blueprint.settings.env_runners
    assert blueprint.cluster is not None
    if settings.num_env_runners >= MANY_RUNNERS:
        log.warning("starting %d runners", settings.num_env_runners)
    plan = RunnerPlan(
        environment=environment_elsewhere(blueprint.settings.environment, settings.gym_env_vectorize_mode),
        settings=settings,
        policy=blueprint.graph or blueprint.recipe,
        num_steps=blueprint.num_steps,
        seed=blueprint.seed,
    )
    return RayRunners(
        plan,
        num_runners=settings.num_env_runners,
        options=blueprint.cluster.runner_options,
        start_timeout_s=settings.runner_start_timeout_s,
        run=blueprint.run_name,
    )
