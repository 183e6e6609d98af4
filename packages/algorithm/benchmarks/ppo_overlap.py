"""PPO from end to end: two runners that sample while the learner learns, against sampling in one process.

    python packages/algorithm/benchmarks/ppo_overlap.py --rounds 7

Both train on CartPole-v1 with the same settings and take turns. What a runner sampled while it was the
other's turn is not counted: the first iteration of each turn is dropped. Needs Ray.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from importlib.metadata import version
from statistics import median

from outrider.algorithm import Algorithm, PPOConfig


def build(num_env_runners: int, num_epochs: int, num_rows: int) -> Algorithm:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(
            env_runner_backend="ray" if num_env_runners else "auto",
            num_env_runners=num_env_runners,
            num_envs_per_env_runner=8,
            sample_ahead=num_env_runners > 0,
        )
        .training(train_batch_size_per_learner=num_rows, minibatch_size=256, num_epochs=num_epochs)
        .debugging(seed=0)
        .build()
    )


def turn(algorithm: Algorithm, seconds: float) -> float:
    """Return environment steps trained per second, after a first iteration that is not counted."""
    first = last = algorithm.train()
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        last = algorithm.train()
    return float(last["num_env_steps"] - first["num_env_steps"]) / (time.perf_counter() - start)


def spread(values: list[float], form: str) -> str:
    return f"{median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="at least so long is a turn")
    parser.add_argument("--num-epochs", type=int, nargs="+", default=[1, 4, 10])
    parser.add_argument("--num-rows", type=int, default=4096, help="rows of an update")
    given = parser.parse_args()
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    versions = ", ".join(f"{name} {version(name)}" for name in ("ray", "torch", "gymnasium"))
    print(f"{os.cpu_count()} cores, load {load}; Python {platform.python_version()}, {versions}")
    print(f"environment steps trained per second, {given.num_rows} rows an update; median [min, max]")
    for num_epochs in given.num_epochs:
        with (
            build(0, num_epochs, given.num_rows) as alone,
            build(2, num_epochs, given.num_rows) as with_runners,
        ):
            turn(alone, 0.0), turn(with_runners, 0.0)  # warms up
            speeds = [
                [turn(algorithm, given.seconds) for algorithm in (alone, with_runners)]
                for _ in range(given.rounds)
            ]
        print(
            f"{num_epochs:2} epochs   0 runners {spread([one for one, _ in speeds], ',.0f')}   "
            f"2 runners {spread([two for _, two in speeds], ',.0f')}   "
            f"ratio {spread([two / one for one, two in speeds], '.2f')}",
            flush=True,
        )


if __name__ == "__main__":
    main()
