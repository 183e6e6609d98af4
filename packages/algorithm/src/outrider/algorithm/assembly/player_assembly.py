"""Makes the runners of a run with several agents: one in this process, or a fleet of them elsewhere."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from outrider.algorithm.assembly.environment_elsewhere import environment_elsewhere
from outrider.algorithm.assembly.runner_assembly import runners_elsewhere
from outrider.algorithm.policies.players import Players, PlayersElsewhere, PlayersHere
from outrider.envrunner import AsyncRunnerFleet, LocalRunnerPool, RunnerFleet
from outrider.envrunner.agents.agent_slots import wire_agents
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
from outrider.envrunner.sampling.multi_agent_runner import MultiAgentRunner

if TYPE_CHECKING:
    from outrider.algorithm.assembly.multi_agent_blueprint import MultiAgentBlueprint
    from outrider.algorithm.cluster.ray_cluster import Cluster
    from outrider.envrunner.gateway.gateway import Gateway


def make_players(
    blueprint: MultiAgentBlueprint,
    cluster: Cluster | None,
    gateway: Gateway | None,
    parts: ExitStack,
    *,
    run_name: str,
) -> tuple[LocalRunnerPool | RunnerFleet, Players]:
    """Make runners that are asked for one fragment after the other, and who tells them of changes."""
    runners = blueprint.settings.env_runners
    if not runners.num_env_runners:
        return _here(blueprint, parts)
    remote = runners_elsewhere(runner_plan(blueprint), runners, cluster, gateway, run_name)
    fleet = parts.enter_context(closing(RunnerFleet(remote, runners, num_steps=blueprint.num_steps)))
    return fleet, _elsewhere(blueprint, fleet)


def make_async_players(
    blueprint: MultiAgentBlueprint, cluster: Cluster | None, gateway: Gateway | None, *, run_name: str
) -> tuple[AsyncRunnerFleet, Players]:
    """Make runners that sample without pause, and who tells them of changes."""
    runners = blueprint.settings.env_runners
    remote = runners_elsewhere(runner_plan(blueprint), runners, cluster, gateway, run_name)
    fleet = AsyncRunnerFleet(remote, runners, num_steps=blueprint.num_steps)
    return fleet, _elsewhere(blueprint, fleet)


def runner_plan(blueprint: MultiAgentBlueprint) -> MultiAgentPlan:
    """Return what runners in other processes are made of."""
    settings = blueprint.settings
    return MultiAgentPlan(
        environment=environment_elsewhere(settings.environment, settings.env_runners.gym_env_vectorize_mode),
        settings=settings.env_runners,
        agents=tuple(blueprint.mapping.agents),
        num_agents=settings.multi_agent.num_agents,
        has_central_critic=settings.multi_agent.critic == "central",
        stacks=tuple(
            blueprint.assemblies[policies[0].planned].acting_plan(name)
            for name, policies in blueprint.book.by_stack().items()
        ),
        policies=tuple(policy.entry for policy in blueprint.book),
        mapping=blueprint.mapping.chosen,
        num_steps=blueprint.num_steps,
        seed=blueprint.seed,
    )


def farm_plan(blueprint: MultiAgentBlueprint) -> MultiAgentPlan:
    """Return what runners of farms are made of: they are counted after the run's own."""
    agents = wire_agents(blueprint.mapping.agents, blueprint.groups, blueprint.state_space)
    first_runner = blueprint.settings.env_runners.num_own_env_runners
    return replace(runner_plan(blueprint), first_runner=first_runner, environment_agents=agents)


def _elsewhere(blueprint: MultiAgentBlueprint, fleet: RunnerFleet | AsyncRunnerFleet) -> PlayersElsewhere:
    return PlayersElsewhere(blueprint.book, blueprint.mapping, blueprint.assemblies, blueprint.groups, fleet)


def _here(blueprint: MultiAgentBlueprint, parts: ExitStack) -> tuple[LocalRunnerPool, Players]:
    settings = blueprint.settings
    acting = {
        stack: blueprint.assemblies[policies[0].planned].acting(stack, policies)
        for stack, policies in blueprint.book.by_stack().items()
    }
    runner = MultiAgentRunner(
        partial(blueprint.make_vector, settings.env_runners.num_envs_per_env_runner),
        list(acting.values()),
        blueprint.mapping,
        [policy.entry for policy in blueprint.book],
        num_steps=blueprint.num_steps,
        seed=blueprint.seed,
        settings=settings.env_runners,
        has_central_critic=settings.multi_agent.critic == "central",
    )
    pool = LocalRunnerPool(runner, sample_ahead=settings.env_runners.sample_ahead)
    parts.enter_context(closing(pool))
    return pool, PlayersHere(blueprint.book, blueprint.assemblies, runner, acting)
