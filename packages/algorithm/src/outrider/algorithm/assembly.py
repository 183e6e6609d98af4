"""Puts the parts of an algorithm together from its settings."""

from __future__ import annotations

import copy
import logging
import math
import secrets
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from outrider.algorithm.evaluation import Evaluator
from outrider.envrunner import EnvRunner, LocalRunnerPool, OnnxPolicy, TorchPolicy
from outrider.envrunner.environment import spaces_of
from outrider.rlmodule import PolicyNotExportable, build_policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider.algorithm.run_settings import RunSettings
    from outrider.envrunner import ActingPolicy, RunnerPool
    from outrider.rlmodule import Policy

R = TypeVar("R", bound="RunSettings")

log = logging.getLogger(__name__)


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


def make_policy(settings: RunSettings, seed: int) -> Policy:
    """Make one environment to learn its spaces, and a policy for them."""
    observation_space, action_space = spaces_of(
        settings.environment, settings.env_runners.gym_env_vectorize_mode
    )
    return build_policy(
        observation_space, action_space, settings.rl_module, network=settings.rl_module.network, seed=seed
    )


def acting_policies(policy: Policy) -> Callable[[], ActingPolicy]:
    """Return what makes copies of the policy that act: its graph, or torch where it cannot be exported."""
    try:
        graph = policy.policy_graph()
    except PolicyNotExportable as error:
        log.warning("the policy acts through torch, which is slower: %s", error)
        return lambda: TorchPolicy(copy.deepcopy(policy).cpu())
    return lambda: OnnxPolicy(graph)


def make_runners(
    settings: RunSettings,
    acting: Callable[[], ActingPolicy],
    policy: Policy,
    *,
    train_batch_size: int,
    seed: int,
) -> RunnerPool:
    """Make the runners of this process, with their environments."""
    runner = EnvRunner(
        settings.environment,
        settings.env_runners,
        acting(),
        observation_space=policy.observation_space,
        action_heads=policy.action_heads,
        num_steps=num_vector_steps(settings, train_batch_size),
        seed=seed,
    )
    return LocalRunnerPool(runner)


def make_evaluator(settings: RunSettings, acting: Callable[[], ActingPolicy], policy: Policy) -> Evaluator:
    """Make what plays evaluations; it opens no environment before the first one."""
    return Evaluator(settings, acting, policy.action_heads)


def num_vector_steps(settings: RunSettings, train_batch_size: int) -> int:
    """Return how many steps each environment copy takes for one fragment.

    `rollout_fragment_length="auto"` divides the training batch by the number of copies and rounds up,
    so that an iteration has the batch's rows, or less than one vector step more.
    """
    runners = settings.env_runners
    num_environments = runners.num_envs_per_env_runner * max(1, runners.num_env_runners)
    length = runners.rollout_fragment_length
    if length == "auto":
        return math.ceil(train_batch_size / num_environments)
    if length * num_environments != train_batch_size:
        warnings.warn(
            f"an iteration has {length * num_environments} rows, rollout_fragment_length={length} of "
            f'{num_environments} environments; a training batch of {train_batch_size} needs "auto"',
            stacklevel=2,
        )
    return length


def reward_threshold(env: Any) -> float | None:  # noqa: ANN401 - an id or a function
    """Return the mean return from which a registered environment counts as solved, if it says so."""
    if not isinstance(env, str):
        return None
    from outrider.envrunner.environment_id import find_spec

    return find_spec(env).reward_threshold
