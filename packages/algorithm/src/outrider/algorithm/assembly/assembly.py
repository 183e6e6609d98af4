"""Puts the parts of an algorithm together from its settings.

    settings -> policy -> gateway, where farms may join -> cluster, where there are actors on Ray
             -> runners -> learners -> loop

What is made later is closed earlier, also where making the next part fails.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from outrider.algorithm.algorithm import Algorithm
from outrider.algorithm.assembly.blueprint import Blueprint
from outrider.algorithm.assembly.farm_assembly import open_gateway
from outrider.algorithm.assembly.learner_assembly import make_async_learners, make_learners, with_num_learners
from outrider.algorithm.assembly.multi_agent_checks import check_one_agent
from outrider.algorithm.assembly.resources import check_resources, is_asynchronous
from outrider.algorithm.assembly.runner_assembly import (
    acting_policies,
    exported,
    farm_plan,
    make_async_runners,
    make_runners,
)
from outrider.algorithm.assembly.runner_backend import with_backend
from outrider.algorithm.cluster.demand import demand_of
from outrider.algorithm.loops.asynchronous import AsynchronousLoop
from outrider.algorithm.loops.evaluation import Evaluator
from outrider.algorithm.loops.resting import RestingLoop
from outrider.algorithm.loops.synchronous import SynchronousLoop
from outrider.algorithm.settings.run_settings import RunSettings
from outrider.envrunner.environments.environment import spaces_of
from outrider.learner import choose_device
from outrider.learner.training.vtrace_settings import VTraceSettings
from outrider.rlmodule import PolicyRecipe

if TYPE_CHECKING:
    from outrider.algorithm.cluster.ray_cluster import Cluster
    from outrider.algorithm.loops.loop import TrainingLoop
    from outrider.envrunner import EnvRunnerSettings
    from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
    from outrider.envrunner.fleet.runner_plan import RunnerPlan
    from outrider.envrunner.gateway.gateway import Gateway

R = TypeVar("R", bound=RunSettings)


def build(
    name: str,
    settings: RunSettings,
    *,
    run_name: str | None = None,
    recorded: Mapping[str, Any] | None = None,
) -> Algorithm:
    """Make an algorithm that is ready to train. Raises ValueError in one sentence, and leaves nothing.

    `recorded` is what a checkpoint says of the policies that there were, where there were several.
    """
    if settings.multi_agent.is_on:
        from outrider.algorithm.assembly.multi_agent_assembly import build_several

        return build_several(name, settings, run_name=run_name, recorded=recorded)
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
            algorithm=name,
            settings=settings,
            seed=seed,
            num_steps=num_steps,
            recipe=recipe,
            policy=policy,
            graph=graph,
            run_name=run_name or f"{name}-{settings.environment.name}",
        )
        # The gateway first: farms join while the cluster and the learners are made.
        if settings.env_runners.listen is not None:
            gateway = let_farms_in(settings.env_runners, farm_plan(blueprint), parts)
            blueprint = replace(blueprint, gateway=gateway)
        blueprint = replace(blueprint, cluster=join_cluster(settings, parts))
        return Algorithm(
            name,
            settings,
            loop=_loop(blueprint, parts),
            policy=policy,
            evaluator=Evaluator(settings, acting_policies(policy, graph), policy.action_heads),
            parts=parts.pop_all(),
            gateway=blueprint.gateway,
            reward_threshold=reward_threshold(settings.environment.env),
        )


def build_to_evaluate(
    name: str, settings: RunSettings, *, recorded: Mapping[str, Any] | None = None
) -> Algorithm:
    """Make an algorithm that has policies and environments to evaluate them in, and nothing else."""
    if settings.multi_agent.is_on:
        from outrider.algorithm.assembly.multi_agent_assembly import build_several

        return build_several(name, settings, recorded=recorded, to_train=False)
    settings, seed = with_seed(settings)
    use_threads(settings)
    policy = policy_recipe(settings, seed).build()
    return Algorithm(
        name,
        settings,
        loop=RestingLoop(policy),
        policy=policy,
        evaluator=Evaluator(settings, acting_policies(policy, exported(policy)), policy.action_heads),
        parts=ExitStack(),
        reward_threshold=reward_threshold(settings.environment.env),
    )


def let_farms_in(runners: EnvRunnerSettings, plan: RunnerPlan | MultiAgentPlan, parts: ExitStack) -> Gateway:
    """Let runners of farms in from now on."""
    gateway = parts.enter_context(closing(open_gateway(runners, plan)))
    gateway.is_last = False  # unless the algorithm comes to its end
    return gateway


def join_cluster(settings: RunSettings, parts: ExitStack) -> Cluster | None:
    """Reserve what actors need; without any, Ray is not even imported."""
    num_learners = settings.learners.num_learners
    assert num_learners != "auto"
    if not settings.env_runners.num_ray_env_runners and not num_learners:
        return None
    from outrider.algorithm.cluster.ray_cluster import connect

    demand = demand_of(settings.env_runners, settings.learners, num_learners=num_learners)
    return parts.enter_context(connect(settings.resources, demand))


def _loop(blueprint: Blueprint, parts: ExitStack) -> TrainingLoop:
    """Make runners first: they start while the learners do."""
    if is_asynchronous(blueprint.settings):
        training = blueprint.settings.training
        assert isinstance(training, VTraceSettings)
        return AsynchronousLoop(
            parts.enter_context(closing(make_async_runners(blueprint))),
            parts.enter_context(closing(make_async_learners(blueprint))),
            min_time_s=training.min_time_s_per_iteration,
            patience_s=blueprint.settings.learners.learner_timeout_s,
        )
    return SynchronousLoop(
        parts.enter_context(closing(make_runners(blueprint))),
        parts.enter_context(closing(make_learners(blueprint))),
    )


def with_seed(settings: R) -> tuple[R, int]:
    """Return settings that have a seed, and the seed: the given one, or a new one where there is none."""
    seed = settings.debugging.seed
    if seed is None:
        seed = secrets.randbits(32)
    return replace(settings, debugging=replace(settings.debugging, seed=seed)), seed


def use_threads(settings: RunSettings) -> None:
    """Let torch use the cores of this process's learner: one unless the settings say otherwise.

    More threads than a small network needs take the cores away from the environments: with two threads
    on two busy cores a peer fell to a fifth of its speed. Raises ValueError for a GPU that is not here.
    """
    import torch

    learners = settings.learners
    is_here = learners.num_learners == 0 and learners.learner_address is None
    if is_here:
        choose_device(learners)
    torch.set_num_threads(max(1, int(learners.num_cpus_per_learner)) if is_here else 1)


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


def reward_threshold(env: Any) -> float | None:  # noqa: ANN401 - an id or a function
    """Return the mean return from which a registered environment counts as solved, if it says so."""
    if not isinstance(env, str):
        return None
    from outrider.envrunner.environments.environment_id import find_callable, find_spec

    return find_spec(env).reward_threshold if find_callable(env) is None else None
