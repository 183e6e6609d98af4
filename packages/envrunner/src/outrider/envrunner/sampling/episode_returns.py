"""Sums rewards into episode returns, across fragments. Axes: S = environments, T = vector steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire import EpisodeStatistics

Flags = NDArray[np.bool_]


class EpisodeReturns:
    """The unfinished episode of each environment."""

    def __init__(self, num_envs: int) -> None:
        """Start all at zero."""
        self._returns = np.zeros(num_envs, np.float64)
        self._lengths = np.zeros(num_envs, np.int64)

    def forget(self, environment: int) -> None:
        """Drop an unfinished episode, which will never end."""
        self._returns[environment] = 0
        self._lengths[environment] = 0

    def add(
        self, reward_ST: NDArray[np.float32], done_ST: Flags, is_row_ST: Flags, lost: set[tuple[int, int]]
    ) -> EpisodeStatistics:
        """Add a fragment's rewards; return the episodes that ended, in the order of their end.

        Slots (environment, step) in `lost` ended an episode that failed; it is not counted.
        """
        num_envs, num_steps = reward_ST.shape
        reward = np.where(is_row_ST, reward_ST, 0).astype(np.float64).reshape(-1)
        length = is_row_ST.astype(np.int64).reshape(-1)
        ends = np.flatnonzero(done_ST & is_row_ST)
        ends = ends[(ends + 1) % num_steps != 0]
        starts = np.union1d(np.arange(num_envs) * num_steps, ends + 1)
        returns, lengths = np.add.reduceat(reward, starts), np.add.reduceat(length, starts)
        environments, lasts = starts // num_steps, np.append(starts[1:], len(reward)) - 1
        begins = starts % num_steps == 0
        returns[begins] += self._returns
        lengths[begins] += self._lengths
        whole = (done_ST & is_row_ST).reshape(-1)[lasts]
        self._returns[:] = 0
        self._lengths[:] = 0
        self._returns[environments[~whole]] = returns[~whole]
        self._lengths[environments[~whole]] = lengths[~whole]
        counted = whole & np.array([divmod(int(at), num_steps) not in lost for at in lasts], np.bool_)
        order = np.lexsort((environments[counted], lasts[counted] % num_steps))
        return EpisodeStatistics(
            returns=returns[counted][order].astype(np.float32), lengths=lengths[counted][order]
        )

    def get_state(self) -> dict[str, Any]:
        """Return the unfinished episodes."""
        return {"returns": self._returns.copy(), "lengths": self._lengths.copy()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        self._returns[:] = state["returns"]
        self._lengths[:] = state["lengths"]
