"""Makes the runners of an algorithm: one in this process, or a fleet of them elsewhere.

runners of the fleet    0 1 ...                          ... n
                        on Ray or in processes here | of farms
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from outrider.algorithm.assembly.environment_elsewhere import environment_elsewhere
from outrider.algorithm.assembly.farm_assembly import INSTALL_GRPC
from outrider.algorithm.policies.acting import acting_policies
from outrider.envrunner import (
    AsyncRunnerFleet,
    EnvRunner,
    LocalRunnerPool,
    RunnerFleet,
    RunnerPlan,
)
from outrider.envrunner.fleet.mixed_runners import MixedRunners

if TYPE_CHECKING:
    from outrider.algorithm.assembly.blueprint import Blueprint
    from outrider.algorithm.cluster.ray_cluster import Cluster
    from outrider.envrunner import EnvRunnerSettings
    from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
    from outrider.envrunner.fleet.remote_runners import RemoteRunners
    from outrider.envrunner.gateway.gateway import Gateway

MANY_RUNNERS = 8
"""From this number on starting them takes long enough to be announced."""

log = logging.getLogger(__name__)


def make_runners(blueprint: Blueprint) -> LocalRunnerPool | RunnerFleet:
    """Make runners that are asked for one fragment after the other."""
    runners = blueprint.settings.env_runners
    if runners.num_env_runners:
        return RunnerFleet(_of_blueprint(blueprint), runners, num_steps=blueprint.num_steps)
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
    return AsyncRunnerFleet(_of_blueprint(blueprint), settings, num_steps=blueprint.num_steps)


def farm_plan(blueprint: Blueprint) -> RunnerPlan:
    """Return what runners of farms are made of: they are counted after the run's own."""
    first_runner = blueprint.settings.env_runners.num_own_env_runners
    return replace(_plan(blueprint), first_runner=first_runner)


def _of_blueprint(blueprint: Blueprint) -> RemoteRunners:
    return runners_elsewhere(
        _plan(blueprint),
        blueprint.settings.env_runners,
        blueprint.cluster,
        blueprint.gateway,
        blueprint.run_name,
    )


def runners_elsewhere(
    plan: RunnerPlan | MultiAgentPlan,
    settings: EnvRunnerSettings,
    cluster: Cluster | None,
    gateway: Gateway | None,
    run_name: str,
) -> RemoteRunners:
    """Return runners in other processes, of as many kinds as there are."""
    if settings.num_own_env_runners == 0:
        assert gateway is not None
        return gateway
    if settings.num_own_env_runners >= MANY_RUNNERS:
        log.warning("starting %d runners", settings.num_own_env_runners)
    if settings.env_runner_backend == "process":
        own = _in_processes(plan, settings)
    else:
        assert cluster is not None
        own = _on_ray(plan, settings, cluster, run_name)
    return own if gateway is None else MixedRunners(own, gateway)


def _plan(blueprint: Blueprint) -> RunnerPlan:
    settings = blueprint.settings.env_runners
    return RunnerPlan(
        environment=environment_elsewhere(blueprint.settings.environment, settings.gym_env_vectorize_mode),
        settings=settings,
        policy=blueprint.graph or blueprint.recipe,
        num_steps=blueprint.num_steps,
        seed=blueprint.seed,
    )


def _on_ray(
    plan: RunnerPlan | MultiAgentPlan, settings: EnvRunnerSettings, cluster: Cluster, run_name: str
) -> RemoteRunners:
    from outrider.envrunner.fleet.ray_runners import RayRunners

    return RayRunners(
        plan,
        num_runners=settings.num_own_env_runners,
        options=cluster.runner_options,
        start_timeout_s=settings.runner_start_timeout_s,
        run=run_name,
    )


def _in_processes(plan: RunnerPlan | MultiAgentPlan, settings: EnvRunnerSettings) -> RemoteRunners:
    try:
        from outrider.envrunner.farm.process_runners import ProcessRunners
    except ImportError as error:
        raise ValueError(INSTALL_GRPC) from error

    return ProcessRunners(plan, settings, num_runners=settings.num_own_env_runners)
