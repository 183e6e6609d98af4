"""Plays whole episodes with fixed seeds, apart from training, and says how they went."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import VectorizeMode
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from outrider.envrunner.environments.autoreset import autoreset_mode
from outrider.envrunner.environments.closing import close_all
from outrider.envrunner.environments.ends import FAILED
from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.environments.restarts import Restarts
from outrider.envrunner.environments.seeded_episodes import SeededEpisodes
from outrider.envrunner.environments.spaces import column_reader, space_from_gymnasium
from outrider.envrunner.environments.vector_environment import make_vector_environment
from outrider.envrunner.policies.acting_policy import ActingPolicy
from outrider.envrunner.policies.action_sampler import ActionSampler
from outrider.envrunner.sampling.episode_deal import EpisodeDeal
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.wire import ActionHead, Columns, EpisodeStatistics

_NOISE_STEPS = 64  # a call of the random generator costs more than the numbers it makes


def evaluate(
    policy: ActingPolicy,
    environment: EnvironmentSettings,
    settings: EnvRunnerSettings | None = None,
    *,
    action_heads: tuple[ActionHead, ...],
    num_episodes: int,
    num_envs: int,
    seed: int,
    explore: bool = False,
    max_episode_steps: int = 30_000,
    on_step: Callable[[int], None] | None = None,
) -> EpisodeStatistics:
    """Play `num_episodes` episodes in environments made for this, and return them in order of their seeds.

    Of `settings` (default: SYNC) the vectorize mode counts, and what happens when environments fail. In
    modes SYNC and ASYNC episode i starts from seed `seed` + i, so that neither `num_envs` nor the other
    episodes change it; a native vector environment takes one seed for all its copies. Without `explore`
    the policy takes its most likely action; with it actions are drawn, those of all copies from `seed`. An
    episode of `max_episode_steps` steps (by default more than Atari's longest) is cut and counted with a
    warning; one of a native vector environment cannot be cut, and raises RuntimeError. `on_step` is called
    after each step with the number of episodes that have ended.
    """
    settings = settings or EnvRunnerSettings()
    num_envs = min(num_envs, num_episodes)
    _require_positive(num_episodes=num_episodes, num_envs=num_envs, max_episode_steps=max_episode_steps)
    deal = EpisodeDeal(num_episodes, num_envs, max_episode_steps)
    native = settings.gym_env_vectorize_mode is VectorizeMode.VECTOR_ENTRY_POINT
    if not native:
        one_by_one = functools.partial(
            SeededEpisodes, stride=num_envs, stop=seed + num_episodes, max_episode_steps=max_episode_steps
        )
        environment = replace(environment, wrappers=(*environment.wrappers, one_by_one))
    restarts = Restarts(settings.max_env_restarts)

    def restart(copy: int, error: BaseException) -> int:
        restarts.record(copy, error)
        return seed + deal.episode_of(copy)

    vector = make_vector_environment(environment, settings, num_envs=num_envs, on_failure=restart)
    try:
        rng = np.random.default_rng(seed) if explore else None
        play(
            policy,
            vector,
            deal,
            action_heads=action_heads,
            seed=seed,
            rng=rng,
            watch=on_step and (lambda _: on_step(num_episodes - deal.num_left)),
            ended=restarts.forgive,
        )
    finally:
        close_all(vector)
    return deal.statistics()


def play(
    policy: ActingPolicy,
    vector: gym.vector.VectorEnv[Any, Any, Any],
    deal: EpisodeDeal,
    *,
    action_heads: tuple[ActionHead, ...],
    seed: int,
    rng: np.random.Generator | None,
    watch: Callable[[Columns], None] | None = None,
    ended: Callable[[NDArray[np.bool_]], None] | None = None,
) -> None:
    """Step `vector` until all episodes of `deal` have ended; draw actions with `rng`, or without it the best.

    `watch` is shown the observations before each step and after the last, `ended` [num_envs] which copies
    have ended an episode without failing.
    """
    read = column_reader(space_from_gymnasium(vector.single_observation_space))
    choose = _chooser(action_heads, vector, rng)
    mode = autoreset_mode(vector)
    state = {
        name: np.zeros((vector.num_envs, *spec.shape), spec.dtype) for name, spec in policy.state_spec.items()
    }
    resetting: NDArray[np.bool_] | None = None
    columns = read(vector.reset(seed=seed)[0])
    while deal.num_left:
        if watch:
            watch(columns)
        parameters, next_state = policy.act(columns, state)
        observations, rewards, terminated, truncated, infos = vector.step(choose(parameters))
        columns = read(observations)
        deal.add(rewards, None if resetting is None else ~resetting)
        done = np.asarray(terminated | truncated, np.bool_)
        for name, column in state.items():
            column[...] = next_state[name]
            column[done if resetting is None else done | resetting] = 0
        resetting = None
        if done.any():
            failed = infos.get(FAILED, np.zeros_like(done))
            for copy in np.flatnonzero(done).tolist():
                deal.end(copy, counts=not failed[copy])
            if ended:
                ended(done & ~failed)
            if mode is AutoresetMode.NEXT_STEP:
                resetting = done
            elif mode is AutoresetMode.DISABLED and deal.num_left:
                columns = read(vector.reset(options={"reset_mask": done})[0])
    if watch:
        watch(columns)


def _chooser(
    action_heads: tuple[ActionHead, ...],
    vector: gym.vector.VectorEnv[Any, Any, Any],
    rng: np.random.Generator | None,
) -> Callable[[NDArray[np.float32]], Any]:
    """Make the function that turns action parameters into what `vector` takes."""
    sampler = ActionSampler(action_heads, vector.single_action_space, rng or np.random.default_rng(0))
    if rng is None:
        return lambda parameters: sampler.to_environment(sampler.most_likely(parameters))
    noise = itertools.cycle([True] + [False] * (_NOISE_STEPS - 1))

    def draw(parameters: NDArray[np.float32]) -> Any:  # noqa: ANN401 - of any space
        if next(noise):
            sampler.draw_noise(_NOISE_STEPS, len(parameters))
        return sampler.to_environment(sampler.sample(parameters))

    return draw


def _require_positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} is {number}; it must be at least 1")
