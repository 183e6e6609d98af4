"""Lays what the copies of an environment show into arrays with one axis more."""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import concatenate, create_empty_array


class ObservationBatch:
    """The newest observation of each copy."""

    def __init__(self, space: gym.Space[Any], num_envs: int) -> None:
        """Reserve the arrays; `space` is that of one copy."""
        self.latest: list[Any] = [None] * num_envs
        """To be filled in by whoever steps the copies."""
        self._space = space
        self._arrays: Any = create_empty_array(space, num_envs)

    def arrays(self) -> Any:
        """Write the newest observations into the arrays, and return these: valid until the next call."""
        if isinstance(self._arrays, np.ndarray):
            self._arrays[...] = self.latest
        else:
            concatenate(self._space, self.latest, self._arrays)
        return self._arrays
