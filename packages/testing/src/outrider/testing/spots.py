"""A small picture to act by."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

SIDE = 10
LENGTH = 6
Picture = NDArray[np.uint8]


class Spots(gym.Env[Picture, Any]):
    """Shows a bright spot in noise; rewards 1 for the half it is in, 0 left or 1 right."""

    observation_space = gym.spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
    action_space: gym.Space[Any] = gym.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Picture, dict[str, Any]]:
        """Begin an episode of six pictures."""
        super().reset(seed=seed)
        self._step = 0
        return self._picture(), {}

    def step(self, action: Any) -> tuple[Picture, float, bool, bool, dict[str, Any]]:  # noqa: ANN401
        """Show the next one."""
        self._step += 1
        reward = float(int(action) == self._column * 2 // SIDE)
        return self._picture(), reward, self._step == LENGTH, False, {}

    def _picture(self) -> Picture:
        picture = self.np_random.integers(0, 100, (SIDE, SIDE, 3), np.uint8)
        row, self._column = self.np_random.integers(SIDE, size=2)
        picture[row, self._column] = 255
        return picture
