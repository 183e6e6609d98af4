"""Train on tasks with published results, several seeds each, and print what was reached.

    python packages/algorithm/benchmarks/learning.py cartpole --seeds 5

Two figures for each seed, because publications differ in what they report: the mean return of the
last 100 training episodes, with exploration, and that of 100 evaluation episodes without. HalfCheetah
needs the extra `outrider-envrunner[mujoco]`. --anew trains with recompute_advantages=True.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from statistics import mean, median, stdev
from typing import Any

import gymnasium as gym
import numpy as np

from outrider.algorithm import PPOConfig


def without_velocities(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Show only the cart's position and the pole's angle, so that the policy needs a memory."""
    shown = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    return gym.wrappers.TransformObservation(env, lambda observation: observation[[0, 2]], shown)


def cartpole() -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=8, gym_env_vectorize_mode="vector_entry_point")
        .training(
            lr=[[0, 1e-3], [500_000, 0.0]],
            train_batch_size_per_learner=1024,
            minibatch_size=128,
            num_epochs=10,
        )
    )


def pendulum() -> PPOConfig:
    return (
        PPOConfig()
        .environment("Pendulum-v1")
        .env_runners(num_envs_per_env_runner=8)
        .training(lr=1e-3, gamma=0.9, train_batch_size_per_learner=1024, minibatch_size=128, num_epochs=10)
    )


def cartpole_without_velocities() -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1", wrappers=(without_velocities,))
        .env_runners(num_envs_per_env_runner=8)
        .rl_module(use_lstm=True, normalize_observations=True, normalize_rewards=True)
        .training(lr=5e-4, train_batch_size_per_learner=1024, minibatch_size=256, num_epochs=10)
    )


def halfcheetah() -> PPOConfig:
    return (
        PPOConfig()
        .environment("HalfCheetah-v5")
        .env_runners(num_envs_per_env_runner=1)
        .rl_module(initial_log_std=-1.0, normalize_observations=True, normalize_rewards=True)
        .training(
            lr=[[0, 3e-4], [1_000_000, 0.0]],
            train_batch_size_per_learner=2048,
            minibatch_size=64,
            num_epochs=10,
        )
    )


TASKS: dict[str, tuple[Callable[[], PPOConfig], int]] = {
    "cartpole": (cartpole, 500_000),
    "pendulum": (pendulum, 100_000),
    "cartpole-without-velocities": (cartpole_without_velocities, 200_000),
    "halfcheetah": (halfcheetah, 1_000_000),
}
"""What is trained and for how many environment steps."""


def learn(task: str, seed: int, *, anew: bool) -> tuple[float, float]:
    """Train one seed; return the mean training and evaluation returns at the end."""
    make_config, num_env_steps = TASKS[task]
    start_s, cpu_start_s = time.perf_counter(), time.process_time()
    config = make_config().debugging(seed=seed).training(recompute_advantages=anew)
    with config.build() as algorithm:
        metrics = algorithm.train()
        while metrics["num_env_steps"] < num_env_steps:
            metrics = algorithm.train()
            if metrics["iteration"] % 50 == 0:
                print(
                    f"  {metrics['num_env_steps']:>9,} steps  {metrics['episode_return_mean']:9.1f}",
                    flush=True,
                )
        evaluation = algorithm.evaluate()
    trained, evaluated = metrics["episode_return_mean"], evaluation["episode_return_mean"]
    print(
        f"{task} seed {seed}: {metrics['num_env_steps']:,} steps, last 100 training episodes {trained:.2f}, "
        f"100 evaluation episodes {evaluated:.2f} ± {evaluation['episode_return_std']:.2f}, "
        f"{time.perf_counter() - start_s:.0f} s, {time.process_time() - cpu_start_s:.0f} CPU-s",
        flush=True,
    )
    return trained, evaluated


def spread(values: list[float]) -> str:
    deviation = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return (
        f"{mean(values):.2f}{deviation}, median {median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+", choices=TASKS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--anew", action="store_true")
    arguments = parser.parse_args()
    versions = {
        name: metadata.version(name) for name in ("outrider-algorithm", "torch", "gymnasium", "numpy")
    }
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}")
    for task in arguments.tasks:
        results = [learn(task, seed, anew=arguments.anew) for seed in range(arguments.seeds)]
        print(
            f"{task}, {arguments.seeds} seeds, last 100 training episodes: {spread([r[0] for r in results])}"
        )
        print(
            f"{task}, {arguments.seeds} seeds, 100 evaluation episodes:    {spread([r[1] for r in results])}"
        )


if __name__ == "__main__":
    main()
