"""Puts the parts of an algorithm together from its settings.

    settings -> [cluster] -> policy -> runners -> learners -> loop -> Algorithm

What is made later is closed earlier, also where making the next part fails.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from outrider.algorithm.algorithm import Algorithm
from outrider.algorithm.evaluation import Evaluator
from outrider.algorithm.learner_assembly import make_local_learners, with_num_learners
from outrider.algorithm.resources import check_resources
from outrider.algorithm.resting import RestingLoop
from outrider.algorithm.run_settings import RunSettings
from outrider.algorithm.runner_assembly import acting_policies, make_local_runners
from outrider.algorithm.synchronous import SynchronousLoop
from outrider.envrunner.environment import spaces_of
from outrider.rlmodule import PolicyRecipe

if TYPE_CHECKING:
    from outrider.algorithm.loop import TrainingLoop

R = TypeVar("R", bound=RunSettings)


def build(name: str, settings: RunSettings) -> Algorithm:
    """Make an algorithm that is ready to train. Raises ValueError in one sentence, and leaves nothing."""
    settings, seed = with_seed(settings)
    settings = with_num_learners(settings)
    num_steps = check_resources(settings)
    use_threads(settings)
    with ExitStack() as parts:
        recipe = policy_recipe(settings, seed)
        policy = recipe.build()
        acting = acting_policies(policy)
        runners = make_local_runners(settings, acting(), policy, seed, num_steps=num_steps)
        parts.callback(runners.close)
        learners = make_local_learners(name, settings, policy, seed)
        parts.callback(learners.close)
        loop: TrainingLoop = SynchronousLoop(runners, learners)
        return Algorithm(
            name,
            settings,
            loop=loop,
            policy=policy,
            evaluator=Evaluator(settings, acting, policy.action_heads),
            parts=parts.pop_all(),
            reward_threshold=reward_threshold(settings.environment.env),
        )


def build_to_evaluate(name: str, settings: RunSettings) -> Algorithm:
    """Make an algorithm that has a policy and environments to evaluate it in, and nothing else."""
    settings, seed = with_seed(settings)
    policy = policy_recipe(settings, seed).build()
    return Algorithm(
        name,
        settings,
        loop=RestingLoop(policy),
        policy=policy,
        evaluator=Evaluator(settings, acting_policies(policy), policy.action_heads),
        parts=ExitStack(),
        reward_threshold=reward_threshold(settings.environment.env),
    )


def with_seed(settings: R) -> tuple[R, int]:
    """Return settings that have a seed, and the seed: the given one, or a new one where there is none."""
    seed = settings.debugging.seed
    if seed is None:
        seed = secrets.randbits(32)
    return replace(settings, debugging=replace(settings.debugging, seed=seed)), seed


def use_threads(settings: RunSettings) -> None:
    """Let torch use the learner's cores in this process, one unless the settings say otherwise.

    More threads than a small network needs take the cores away from the environments: with two threads
    on two busy cores a peer fell to a fifth of its speed.
    """
    import torch

    torch.set_num_threads(max(1, int(settings.learners.num_cpus_per_learner)))


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
    from outrider.envrunner.environment_id import find_spec

    return find_spec(env).reward_threshold
