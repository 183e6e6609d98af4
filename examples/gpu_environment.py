"""Trains on an environment that computes its steps on a GPU, a quarter of which each runner reserves.

    python examples/gpu_environment.py --num-env-runners 2

A runner that reserves a part of a GPU sees that GPU and no other. Four such runners share one; with a
fifth, or without a GPU, the script says so within seconds instead of waiting for one. Expect the return
to rise from about -50 towards 0: the policy learns to pull a point to where the reward is.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from outrider.algorithm import PPOConfig


class PointOnGPU(gym.Env[Any, Any]):
    """A point in the plane that is pushed about; what it costs is its distance from the middle."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-10.0, 10.0, (2,), np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._point = torch.zeros(2)
        self._num_steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        start = self.np_random.uniform(-5.0, 5.0, 2).astype(np.float32)
        # Only now: the trainer makes a copy too, to learn its spaces, and has no GPU reserved.
        self._point = torch.from_numpy(start).cuda()
        self._num_steps = 0
        return start, {}

    def step(self, action: object) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        push = torch.from_numpy(np.asarray(action, np.float32)).cuda()
        self._point = (self._point + push.clamp(-1.0, 1.0)).clamp(-10.0, 10.0)
        self._num_steps += 1
        cost = float(self._point.norm())
        return self._point.cpu().numpy(), -cost, False, self._num_steps == 20, {}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-env-runners", type=int, default=2)
    parser.add_argument("--num-gpus-per-env-runner", type=float, default=0.25)
    parser.add_argument("--ray-address", help="host:port of a head node, or auto")
    parser.add_argument("--iterations", type=int, default=20)
    given = parser.parse_args()
    if not (given.ray_address or os.environ.get("RAY_ADDRESS") or torch.cuda.is_available()):
        sys.exit(
            "this example needs a GPU, and torch finds none on this machine; join a cluster that has one "
            "with --ray-address"
        )
    config = (
        PPOConfig()
        .environment(PointOnGPU)
        .resources(ray_address=given.ray_address)
        .env_runners(
            num_env_runners=given.num_env_runners,
            num_gpus_per_env_runner=given.num_gpus_per_env_runner,
            num_envs_per_env_runner=8,
        )
        .training(train_batch_size_per_learner=2560, lr=1e-3)
    )
    try:
        algorithm = config.build()
    except ValueError as error:  # what was asked for, what there is, and what to do
        sys.exit(str(error))
    with algorithm:
        for _ in range(given.iterations):
            metrics = algorithm.train()
            print(
                f"{metrics['num_env_steps']:>8,} steps  {metrics['env_steps_per_s']:>7,.0f} steps/s  "
                f"return {metrics['episode_return_mean']:6.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
