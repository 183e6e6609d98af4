"""Puts the parts of an algorithm with one policy together.

    settings -> policy -> gateway, where farms may join -> cluster, where there are actors on Ray
             -> runners -> learners -> loop

What is made later is closed earlier, also where making the next part fails.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

from outrider.algorithm.assembly.algorithm_parts import AlgorithmParts
from outrider.algorithm.assembly.blueprint import Blueprint
from outrider.algorithm.assembly.groundwork import (
    asynchronous_loop,
    join_cluster,
    let_farms_in,
    reward_threshold,
    use_threads,
    with_seed,
)
from outrider.algorithm.assembly.learner_assembly import make_async_learners, make_learners, with_num_learners
from outrider.algorithm.assembly.multi_agent_checks import check_one_agent
from outrider.algorithm.assembly.resources import check_resources, is_asynchronous
from outrider.algorithm.assembly.runner_assembly import farm_plan, make_async_runners, make_runners
from outrider.algorithm.assembly.runner_backend import with_backend
from outrider.algorithm.loops.evaluation import Evaluator
from outrider.algorithm.loops.resting import RestingLoop
from outrider.algorithm.loops.synchronous import SynchronousLoop
from outrider.algorithm.policies.acting import acting_policies, exported
from outrider.envrunner.environments.environment import spaces_of
from outrider.rlmodule import PolicyRecipe

if TYPE_CHECKING:
    from outrider.algorithm.loops.loop import TrainingLoop
    from outrider.algorithm.settings.run_settings import RunSettings


def assemble_one(settings: RunSettings, *, run_name: str | None) -> AlgorithmParts:
    """Make what is ready to train one policy. Raises ValueError in one sentence, and leaves nothing."""
    check_one_agent(settings.multi_agent)
    settings, seed = with_seed(settings)
    settings = with_backend(with_num_learners(settings))
    num_steps = check_resources(settings)
    use_threads(settings)
    with ExitStack() as parts:
        recipe = policy_recipe(settings, seed)
        policy = recipe.build()
        graph = exported(policy)
        blueprint = Blueprint(
            settings=settings,
            seed=seed,
            num_steps=num_steps,
            recipe=recipe,
            policy=policy,
            graph=graph,
            run_name=run_name or f"{settings.algorithm}-{settings.environment.name}",
        )
        # The gateway first: farms join while the cluster and the learners are made.
        if settings.env_runners.listen is not None:
            gateway = let_farms_in(settings.env_runners, farm_plan(blueprint), parts)
            blueprint = replace(blueprint, gateway=gateway)
        blueprint = replace(blueprint, cluster=join_cluster(settings, parts))
        return AlgorithmParts(
            settings=settings,
            loop=_loop(blueprint, parts),
            policy=policy,
            evaluator=Evaluator(settings, acting_policies(policy, graph), policy.action_heads),
            to_close=parts.pop_all(),
            gateway=blueprint.gateway,
            reward_threshold=reward_threshold(settings.environment.env),
        )


def assemble_one_to_evaluate(settings: RunSettings) -> AlgorithmParts:
    """Make a policy and what evaluates it."""
    settings, seed = with_seed(settings)
    use_threads(settings)
    policy = policy_recipe(settings, seed).build()
    return AlgorithmParts(
        settings=settings,
        loop=RestingLoop(policy),
        policy=policy,
        evaluator=Evaluator(settings, acting_policies(policy, exported(policy)), policy.action_heads),
        to_close=ExitStack(),
        reward_threshold=reward_threshold(settings.environment.env),
    )


def _loop(blueprint: Blueprint, parts: ExitStack) -> TrainingLoop:
    """Make runners first: they start while the learners do."""
    if is_asynchronous(blueprint.settings):
        runners = parts.enter_context(closing(make_async_runners(blueprint)))
        learners = parts.enter_context(closing(make_async_learners(blueprint)))
        return asynchronous_loop(blueprint.settings, runners, learners)
    return SynchronousLoop(
        parts.enter_context(closing(make_runners(blueprint))),
        parts.enter_context(closing(make_learners(blueprint))),
    )


def policy_recipe(settings: RunSettings, seed: int) -> PolicyRecipe:
    """Make one environment to learn its spaces, and say what a policy for them is made of."""
    observation_space, action_space = spaces_of(
        settings.environment, settings.env_runners.gym_env_vectorize_mode
    )
    return PolicyRecipe(
        observation_space=observation_space,
        action_space=action_space,
        settings=settings.rl_module,
        network=settings.rl_module.network,
        seed=seed,
    )
