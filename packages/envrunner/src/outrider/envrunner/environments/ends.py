"""The episodes that end within one vector step, as `SyncVector` and `AsyncVector` tell them."""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FAILED = "outrider_failed"
"""In a vector environment's infos: which copies failed in this step and were replaced, [num_envs] bool."""


class Ends:
    """The episodes that ended within one vector step."""

    def __init__(self, num_envs: int) -> None:
        """Start with none."""
        self.terminated = np.zeros(num_envs, np.bool_)
        self.truncated = np.zeros(num_envs, np.bool_)
        self._failed: NDArray[np.bool_] | None = None
        self._final_observations = np.full(num_envs, None, np.object_)

    def record(self, index: int, terminated: Any, truncated: Any, final_observation: Any) -> None:
        """Note an end. The final observation is kept as it is."""
        self.terminated[index], self.truncated[index] = terminated, truncated
        self._final_observations[index] = final_observation

    def record_failure(self, index: int) -> None:
        """Note that copy `index` failed."""
        if self._failed is None:
            self._failed = np.zeros(len(self.terminated), np.bool_)
        self._failed[index] = True
        self.terminated[index], self.truncated[index] = False, True

    def infos(self) -> dict[str, Any]:
        """Return what a vector environment says about ends in its infos."""
        infos: dict[str, Any] = {"final_obs": self._final_observations}
        if self._failed is not None:
            infos[FAILED] = self._failed
        return infos
