"""Train several policies at once on tasks with known results, and print what was reached.

    python packages/algorithm/benchmarks/multi_agent_learning.py cartpole-64 --seeds 3

cartpole-64, cartpole-1000   so many policies, each in eight copies of CartPole of its own. Printed are
                             percentiles over the policies' evaluated returns: 90 % of the policies are
                             at 450 where the tenth percentile is. Copies belong to policies by the
                             mapping, so that an episode ends with its own policy's failure. As 64 agents
                             of one environment they would wait for the last of them.
two-cartpoles-...            two agents, two policies: RLlib's multi-agent CartPole. It ends where the mean
                             return of the last 100 training episodes, summed over agents, reaches the
                             aim, or at the limit of steps; both are RLlib's.

CPU-s are those of this process from the first iteration on; evaluations do not count. With --time-limit a
seed ends after so many of them.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything that computes is imported

import argparse
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from statistics import median
from typing import Any

from outrider.algorithm import APPOConfig, IMPALAConfig, PPOConfig

NUM_COPIES, SOLVED = 8, 450.0


@dataclass(frozen=True, slots=True)
class Population:
    """So many policies that have nothing to do with each other, evaluated now and then."""

    num_policies: int
    num_steps: int = 25_000
    """Of each policy."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two agents of one environment, trained up to RLlib's aim or limit."""

    make_config: Callable[[], Any]
    num_steps: int
    aim: float
    """Training return, summed over agents."""
    num_iterations_between_lines: int


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a seed got to."""

    num_steps: int
    cpu_s: float
    is_there: bool


def independent(num_policies: int) -> PPOConfig:
    """Each policy in copies of its own; all are one stack."""
    names = [str(number) for number in range(num_policies)]
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .multi_agent(
            num_agents=1,
            policies=names,
            policy_mapping_fn=lambda _, episode: names[episode.environment % num_policies],
        )
        .env_runners(
            num_envs_per_env_runner=NUM_COPIES * num_policies, gym_env_vectorize_mode="vector_entry_point"
        )
        .rl_module(normalize_rewards=True)
        .training(
            lr=[[0, 2e-3], [25_000, 2e-4]],
            train_batch_size_per_learner=1024 * num_policies,
            minibatch_size=256,
            num_epochs=10,
        )
        .evaluation(evaluation_num_envs=num_policies, evaluation_duration=10 * num_policies)
    )


def two_agents(config: Any, **training: Any) -> Any:  # noqa: ANN401 - a configuration of any algorithm
    """Two agents of one environment, a policy for each; the environment ends when both have ended."""
    config.environment("CartPole-v1").multi_agent(num_agents=2, policies="per_agent")
    config.env_runners(num_envs_per_env_runner=8, gym_env_vectorize_mode="vector_entry_point")
    return config.rl_module(normalize_rewards=True).training(**training)


TASKS: dict[str, Population | Pair] = {
    "cartpole-64": Population(64),
    "cartpole-1000": Population(1000),
    "two-cartpoles-ppo": Pair(
        lambda: two_agents(
            PPOConfig(), lr=1e-3, train_batch_size_per_learner=1024, minibatch_size=256, num_epochs=10
        ),
        num_steps=400_000,
        aim=900.0,
        num_iterations_between_lines=20,
    ),
    "two-cartpoles-appo": Pair(
        lambda: two_agents(APPOConfig()), num_steps=2_000_000, aim=700.0, num_iterations_between_lines=200
    ),
    "two-cartpoles-impala": Pair(
        lambda: two_agents(IMPALAConfig()), num_steps=2_500_000, aim=700.0, num_iterations_between_lines=200
    ),
}


def learn_many(task: Population, seed: int, time_limit_s: float) -> Reached:
    """Train one seed to the end; return where nine tenths of the policies were first evaluated at 450."""
    trained_s, solved, is_over = 0.0, None, False
    with independent(task.num_policies).debugging(seed=seed).build() as algorithm:
        while not is_over:
            start_s = time.process_time()
            metrics = algorithm.train()
            trained_s += time.process_time() - start_s
            num_steps = metrics["num_env_steps"] // task.num_policies
            is_over = num_steps >= task.num_steps or trained_s > time_limit_s
            if metrics["iteration"] % 5 and not is_over:
                continue
            evaluation = algorithm.evaluate()
            low, middle, high = (evaluation[f"policy_return_p{each}"] for each in (10, 50, 90))
            print(
                f"  {num_steps:>6,} steps of each  {trained_s:7.1f} CPU-s  "
                f"training {metrics['episode_return_mean']:6.1f}  "
                f"evaluated p10 {low:6.1f}  p50 {middle:6.1f}  p90 {high:6.1f}",
                flush=True,
            )
            if solved is None and low >= SOLVED:
                solved = Reached(num_steps, trained_s, is_there=True)
    print(f"  {metrics['num_env_steps'] / trained_s:,.0f} agent steps are trained on in a CPU-second")
    return solved or Reached(num_steps, trained_s, is_there=False)


def learn_two(task: Pair, seed: int, time_limit_s: float) -> Reached:
    """Train one seed until the aim or a limit is reached."""
    trained_s, is_over = 0.0, False
    with task.make_config().debugging(seed=seed).build() as algorithm:
        while not is_over:
            start_s = time.process_time()
            metrics = algorithm.train()
            trained_s += time.process_time() - start_s
            num_steps, training = metrics["num_env_steps"], metrics["episode_return_mean"]
            is_there = training >= task.aim
            is_over = is_there or num_steps >= task.num_steps or trained_s > time_limit_s
            if is_over or not metrics["iteration"] % task.num_iterations_between_lines:
                print(
                    f"  {num_steps:>9,} steps  {trained_s:6.1f} CPU-s  training {training:6.1f}", flush=True
                )
    return Reached(num_steps, trained_s, is_there=is_there)


def spread(values: list[float]) -> str:
    return f"{median(values):,.1f} [{min(values):,.1f}, {max(values):,.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+", choices=TASKS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--time-limit", type=float, default=float("inf"), help="CPU-seconds for each seed")
    given = parser.parse_args()
    versions = {each: metadata.version(each) for each in ("torch", "gymnasium", "numpy", "onnxruntime")}
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {versions}")
    for name in given.tasks:
        task, reached = TASKS[name], []
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            print(f"{name}, seed {seed}")
            learn: Any = learn_many if isinstance(task, Population) else learn_two
            reached.append(learn(task, seed, given.time_limit))
        print(
            f"{name}: {sum(one.is_there for one in reached)} of {given.seeds} seeds got there; "
            f"steps {spread([one.num_steps for one in reached])}, "
            f"CPU-s {spread([one.cpu_s for one in reached])}",
            flush=True,
        )


if __name__ == "__main__":
    main()
