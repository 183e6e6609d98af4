"""How sampling grows with runners, and with environments stepped at the same time. Needs Ray.

    python packages/envrunner/benchmarks/runners.py --rounds 5

Three comparisons, each interleaved: in every round all contenders have their turn, the others idle.
A fleet is `RunnerFleet` over Ray actors; steps are transitions that arrived as references.

sleeping    environments whose step sleeps 5 ms, in 1 to 32 runners, against one runner times their number
cartpole    CartPole-v1 with 8 copies each, two runners against one
async       8 sleeping environments in one runner, ASYNC against SYNC, without Ray
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import logging
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from importlib.metadata import version
from typing import Any

import gymnasium as gym
import ray

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings, LocalRunnerPool, RunnerPool
from outrider.envrunner.environments.environment import spaces_of
from outrider.envrunner.fleet.fleet import RunnerFleet
from outrider.envrunner.fleet.ray_runners import RayRunners
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.transport import LocalWeights

Sample = Callable[[], int]
"""Samples one fragment from every runner of a pool and returns the number of steps."""


class Sleeping(gym.Wrapper[Any, Any, Any, Any]):
    """CartPole behind something slow: each step sleeps first."""

    def __init__(self, env: gym.Env[Any, Any], *, sleep_s: float) -> None:
        super().__init__(env)
        self._sleep_s = sleep_s

    def step(self, action: object) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        time.sleep(self._sleep_s)
        return super().step(action)


def plan(environment: EnvironmentSettings, num_steps: int, **settings: Any) -> RunnerPlan:  # noqa: ANN401
    """Return runners with two tanh layers of 64 and fragments of `num_steps` vector steps."""
    env_runners = EnvRunnerSettings(**settings)
    graph = mlp_graph(*spaces_of(environment, env_runners.gym_env_vectorize_mode))
    return RunnerPlan(
        environment=environment, settings=env_runners, policy=graph, num_steps=num_steps, seed=0
    )


def fleet(stack: ExitStack, what: RunnerPlan, num_runners: int) -> Sample:
    """Start runners as Ray actors that reserve nothing."""
    remote = RayRunners(what, num_runners=num_runners, options=lambda _: {"num_cpus": 0})
    pool = stack.enter_context(closing(RunnerFleet(remote, what.settings, num_steps=what.num_steps)))
    return _sample(pool, what)


def local(stack: ExitStack, what: RunnerPlan) -> Sample:
    """Make one runner in this process."""
    return _sample(stack.enter_context(closing(LocalRunnerPool(what.make_runner(0, 0)))), what)


def _sample(pool: RunnerPool, what: RunnerPlan) -> Sample:
    weights = LocalWeights(mlp_weights(what.policy))  # type: ignore[arg-type] - a graph, see `plan`
    return lambda: sum(fragment.summary.num_rows for fragment in pool.sample(weights))


def race(contenders: dict[str, Sample], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return steps per second of each contender in each round; the first, warming round is dropped."""
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, sample in contenders.items():
            num_steps, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds:
                num_steps += sample()
            speeds[name].append(num_steps / (time.perf_counter() - start))
    return {name: each[1:] for name, each in speeds.items()}


def compare(title: str, speeds: dict[str, list[float]], *, per: float = 1.0) -> None:
    """Print the speed of both, and the second's divided by `per` times the first's."""
    (first, slow), (second, fast) = speeds.items()
    ratios = [many / (per * one) for one, many in zip(slow, fast, strict=True)]
    print(
        f"{title:10} {first} {spread(slow, ',.0f')}   {second} {spread(fast, ',.0f')}   "
        f"ratio {spread(ratios, '.2f')}",
        flush=True,
    )


def spread(values: list[float], form: str) -> str:
    """Write the median [minimum, maximum]."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def main() -> None:
    """Run the comparisons that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="at least so long is a turn")
    parser.add_argument("--num-runners", type=int, nargs="+", default=[2, 4, 8, 16, 32])
    parser.add_argument("--sleep-ms", type=float, default=5.0)
    comparisons = ("sleeping", "cartpole", "async")
    parser.add_argument("--only", choices=comparisons, nargs="+", default=comparisons)
    given = parser.parse_args()
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    versions = ", ".join(f"{name} {version(name)}" for name in ("ray", "gymnasium", "numpy", "onnxruntime"))
    print(f"{os.cpu_count()} cores, load {load}; Python {platform.python_version()}, {versions}")
    print("environment steps/s and their ratio, median [min, max]")
    race_all = partial(race, rounds=given.rounds, seconds=given.seconds)
    sleeping = EnvironmentSettings(
        "CartPole-v1", wrappers=(partial(Sleeping, sleep_s=given.sleep_ms / 1000),)
    )
    if "async" in given.only:
        with ExitStack() as stack:
            modes = {
                mode: local(stack, plan(sleeping, 25, num_envs_per_env_runner=8, gym_env_vectorize_mode=mode))
                for mode in ("sync", "async")
            }
            compare("async", race_all(modes))
    if {"sleeping", "cartpole"} & set(given.only):
        ray.init(
            address="local",
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _system_config={"worker_niceness": 0},
        )
    if "cartpole" in given.only:
        with ExitStack() as stack:
            cartpole = plan(EnvironmentSettings("CartPole-v1"), 512, num_envs_per_env_runner=8)
            contenders = {
                f"{number} runner{'s' * (number > 1)}": fleet(stack, cartpole, number) for number in (1, 2)
            }
            compare("cartpole", race_all(contenders))
    if "sleeping" in given.only:
        with ExitStack() as stack:
            what = plan(sleeping, 100)
            one = fleet(stack, what, 1)
            for number in given.num_runners:
                with ExitStack() as others:
                    many = fleet(others, what, number)
                    speeds = race_all({"1 runner": one, f"{number} runners": many})
                compare("sleeping", speeds, per=number)
    ray.shutdown()


if __name__ == "__main__":
    main()
