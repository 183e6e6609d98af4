"""Puts the parts of an algorithm with several policies together.

blueprint -> gateway, where farms may join -> cluster, where there are actors on Ray
-> runners, which act with all stacks -> learners of all stacks -> loop
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from outrider.algorithm.assembly.algorithm_parts import AlgorithmParts
from outrider.algorithm.assembly.groundwork import (
    asynchronous_loop,
    join_cluster,
    let_farms_in,
    reward_threshold,
    use_threads,
    with_seed,
)
from outrider.algorithm.assembly.learner_assembly import check_one_place
from outrider.algorithm.assembly.multi_agent_blueprint import MultiAgentBlueprint, plan_policies
from outrider.algorithm.assembly.multi_agent_checks import check_several_agents
from outrider.algorithm.assembly.player_assembly import farm_plan, make_async_players, make_players
from outrider.algorithm.assembly.policy_learners import (
    learner_here,
    make_async_policy_learners,
    make_policy_learners,
    policies_here,
)
from outrider.algorithm.assembly.resources import check_resources, is_asynchronous
from outrider.algorithm.assembly.runner_backend import with_backend
from outrider.algorithm.loops.resting import RestingPolicies
from outrider.algorithm.loops.synchronous import SynchronousLoop
from outrider.algorithm.policies.multi_agent_evaluator import MultiAgentEvaluator
from outrider.algorithm.policies.several_policies import SeveralPolicies
from outrider.algorithm.settings.run_settings import RunSettings
from outrider.learner import LocalLearnerGroup

if TYPE_CHECKING:
    from outrider.algorithm.loops.asynchronous import AsynchronousLoop
    from outrider.algorithm.loops.loop import TrainingLoop
    from outrider.envrunner.gateway.gateway import Gateway

R = TypeVar("R", bound=RunSettings)


def assemble_several(
    settings: RunSettings, *, run_name: str | None, recorded: Mapping[str, Any] | None
) -> AlgorithmParts:
    """Make what is ready to train several policies.

    `recorded` is what a checkpoint says of those that there were. Raises ValueError in one sentence, and
    leaves nothing.
    """
    blueprint = _blueprint(settings, recorded)
    settings = blueprint.settings
    run_name = run_name or f"{settings.algorithm}-{settings.environment.name}"
    gateway: Gateway | None = None
    with ExitStack() as parts:
        # The gateway first: farms join while the cluster and the learners are made.
        if settings.env_runners.listen is not None:
            gateway = let_farms_in(settings.env_runners, farm_plan(blueprint), parts)
        cluster = join_cluster(settings, parts)
        loop: AsynchronousLoop | SynchronousLoop
        if is_asynchronous(settings):
            runners, players = make_async_players(blueprint, cluster, gateway, run_name=run_name)
            parts.enter_context(closing(runners))
            busy, policies = make_async_policy_learners(blueprint, cluster, run_name=run_name)
            loop = asynchronous_loop(settings, runners, parts.enter_context(closing(busy)))
        else:
            pool, players = make_players(blueprint, cluster, gateway, parts, run_name=run_name)
            learners, policies = make_policy_learners(blueprint, cluster, run_name=run_name)
            loop = SynchronousLoop(pool, parts.enter_context(closing(learners)))
        several = SeveralPolicies(
            blueprint.book,
            blueprint.mapping,
            blueprint.assemblies,
            policies,
            players=players,
            republish=loop.republish,
            samples_ahead=settings.env_runners.sample_ahead,
        )
        return _parts(blueprint, loop, several, to_close=parts.pop_all(), gateway=gateway)


def assemble_several_to_evaluate(
    settings: RunSettings, *, recorded: Mapping[str, Any] | None
) -> AlgorithmParts:
    """Make policies, with those that a checkpoint `recorded`, and what evaluates them."""
    blueprint = _blueprint(settings, recorded)
    learner = learner_here(blueprint)
    policies = policies_here(blueprint, learner, LocalLearnerGroup(learner))
    several = SeveralPolicies(blueprint.book, blueprint.mapping, blueprint.assemblies, policies)
    return _parts(blueprint, RestingPolicies(learner), several, to_close=ExitStack())


def _blueprint(settings: RunSettings, recorded: Mapping[str, Any] | None) -> MultiAgentBlueprint:
    check_several_agents(settings)
    settings, seed = with_seed(with_backend(_with_own_learner(settings)))
    num_steps = check_resources(settings)
    use_threads(settings)
    return plan_policies(settings, seed, recorded, num_steps)


def _with_own_learner(settings: R) -> R:
    """Return settings in which "auto" has become the one learner of this process.

    Raises ValueError where learners are asked for beside those of a learner service.
    """
    check_one_place(settings.learners)
    if settings.learners.num_learners != "auto":
        return settings
    return replace(settings, learners=replace(settings.learners, num_learners=0))


def _parts(
    blueprint: MultiAgentBlueprint,
    loop: TrainingLoop,
    several: SeveralPolicies,
    *,
    to_close: ExitStack,
    gateway: Gateway | None = None,
) -> AlgorithmParts:
    return AlgorithmParts(
        settings=blueprint.settings,
        loop=loop,
        several=several,
        evaluator=_evaluator(blueprint),
        to_close=to_close,
        gateway=gateway,
        reward_threshold=_reward_threshold(blueprint.settings),
        num_env_steps_per_fragment=blueprint.num_env_steps_per_fragment,
    )


def _evaluator(blueprint: MultiAgentBlueprint) -> MultiAgentEvaluator:
    return MultiAgentEvaluator(
        blueprint.settings,
        blueprint.make_vector_to_act_in,
        lambda name, policies: blueprint.assemblies[policies[0].planned].acting(name, policies),
        blueprint.mapping,
        blueprint.book,
    )


def _reward_threshold(settings: RunSettings) -> float | None:
    """Return the sum over agents from which independent copies count as solved."""
    num_agents = settings.multi_agent.num_agents
    if num_agents is None:
        return None
    threshold = reward_threshold(settings.environment.env)
    return None if threshold is None else threshold * num_agents
