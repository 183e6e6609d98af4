"""Steps copies of a slow environment one after the other, and all at the same time.

    python examples/async_vectorization.py --num-envs 8 --sleep-ms 5

Each step of the environment sleeps, as one does that waits for a simulator or a game. SYNC takes the
copies in turn, ASYNC gives each a process. Both train by turns in this script, so that whatever else the
machine does meets both. Expect a speed-up a little below the number of copies; with --sleep-ms 0, where
a step is a few microseconds of arithmetic, expect ASYNC to be the slower one.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from statistics import median
from typing import Any

import gymnasium as gym

from outrider.algorithm import Algorithm, PPOConfig


class Sleeping(gym.Wrapper[Any, Any, Any, Any]):
    """Sleeps before each step."""

    def __init__(self, env: gym.Env[Any, Any], *, sleep_s: float) -> None:
        super().__init__(env)
        self._sleep_s = sleep_s

    def step(self, action: object) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        time.sleep(self._sleep_s)
        return super().step(action)


def build(mode: gym.VectorizeMode, num_envs: int, num_steps: int, sleep_s: float) -> Algorithm:
    return (
        PPOConfig()
        .environment("CartPole-v1", wrappers=(partial(Sleeping, sleep_s=sleep_s),))
        .env_runners(num_envs_per_env_runner=num_envs, gym_env_vectorize_mode=mode)
        .training(train_batch_size_per_learner=num_envs * num_steps, num_epochs=1)
        .build()
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-envs", type=int, default=8, help="copies of the environment")
    parser.add_argument("--sleep-ms", type=float, default=5.0, help="length of one step")
    parser.add_argument("--num-steps", type=int, default=100, help="steps of each copy in an iteration")
    parser.add_argument("--iterations", type=int, default=5)
    given = parser.parse_args()
    modes = (gym.VectorizeMode.SYNC, gym.VectorizeMode.ASYNC)
    with (
        build(modes[0], given.num_envs, given.num_steps, given.sleep_ms / 1000) as in_turn,
        build(modes[1], given.num_envs, given.num_steps, given.sleep_ms / 1000) as at_once,
    ):
        in_turn.train(), at_once.train()  # starts the environments; not measured
        speeds = [
            [algorithm.train()["env_steps_per_s"] for algorithm in (in_turn, at_once)]
            for _ in range(given.iterations)
        ]
    for mode, each in zip(modes, zip(*speeds, strict=True), strict=True):
        print(f"{mode.name:5} {median(each):8,.0f} environment steps/s")
    ratios = [fast / slow for slow, fast in speeds]
    print(
        f"speed-up {median(ratios):.1f} [{min(ratios):.1f}, {max(ratios):.1f}] with {given.num_envs} copies"
    )


if __name__ == "__main__":
    main()
