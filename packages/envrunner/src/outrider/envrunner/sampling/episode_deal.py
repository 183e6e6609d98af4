"""Deals out episodes to environment copies beforehand, and keeps what came of them.

Copy i of n plays the episodes i, i + n, i + 2n, ... and each counts once. Taking whichever episodes end
first would count short episodes more often than long ones.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire import EpisodeStatistics

_LOGGER = logging.getLogger("outrider.envrunner")
_CHECK_STEPS = 256


class EpisodeDeal:
    """Which episode each copy plays, and what came of those that ended."""

    def __init__(self, num_episodes: int, num_envs: int, max_episode_steps: int) -> None:
        """Deal out episodes of `max_episode_steps` steps at most."""
        self.returns = np.zeros(num_episodes, np.float64)
        self.lengths = np.zeros(num_episodes, np.int64)
        self.num_left = num_episodes
        self._max_episode_steps = max_episode_steps
        self._episode = list(range(num_envs))
        self._num_envs = num_envs
        self._num_steps = 0
        self._return = np.zeros(num_envs, np.float64)
        self._length = np.zeros(num_envs, np.int64)

    def episode_of(self, copy: int) -> int:
        """Return the number of the episode that a copy is playing."""
        return self._episode[copy]

    def add(self, rewards: NDArray[Any], is_row: NDArray[np.bool_] | None) -> None:
        """Add one vector step to the episodes; only where `is_row`, if given, was it a transition.

        Raises RuntimeError where an episode goes far beyond the limit.
        """
        self._return += rewards if is_row is None else np.where(is_row, rewards, 0)
        self._length += 1 if is_row is None else is_row
        self._num_steps += 1
        if self._num_steps % _CHECK_STEPS == 0:
            self._require_ends()

    def end(self, copy: int, *, counts: bool) -> None:
        """End the episode of a copy; one that does not count is played again."""
        episode = self._episode[copy]
        if counts:
            if episode < len(self.returns):
                self.returns[episode], self.lengths[episode] = self._return[copy], self._length[copy]
                self.num_left -= 1
            self._episode[copy] += self._num_envs
        self._return[copy] = 0
        self._length[copy] = 0

    def statistics(self) -> EpisodeStatistics:
        """Return the episodes in order of their numbers."""
        num_cut = int((self.lengths == self._max_episode_steps).sum())
        if num_cut:
            _LOGGER.warning(
                "%d of %d evaluation episodes were cut at %d steps; their returns are those until there",
                num_cut,
                len(self.lengths),
                self._max_episode_steps,
            )
        return EpisodeStatistics(returns=self.returns.astype(np.float32), lengths=self.lengths)

    def _require_ends(self) -> None:
        for episode, length in zip(self._episode, self._length, strict=True):
            if episode < len(self.returns) and length > self._max_episode_steps:
                raise RuntimeError(
                    f"evaluation episode {episode} has {length} steps, and at most {self._max_episode_steps} "
                    "are allowed; give the environment a time limit, or use vectorize mode SYNC, where "
                    "episodes can be cut"
                )
