"""A wrapper that plays given episodes and no others."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


class SeededEpisodes(gym.Wrapper[Any, Any, Any, Any]):
    """Gives each episode a seed of its own, cuts those that do not end, and stands still after the last.

    The first reset brings the first seed; every reset without one goes on to the seed `stride` further,
    until `stop`. From then on the environment is not stepped any more.
    """

    def __init__(self, env: gym.Env[Any, Any], *, stride: int, stop: int, max_episode_steps: int) -> None:
        """Wrap one of `stride` copies, whose last episode has a seed below `stop`."""
        super().__init__(env)
        self._stride, self._stop, self._max_episode_steps = stride, stop, max_episode_steps
        self._seed = 0
        self._num_steps = 0
        self._last: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode, or return the last observation again where there is none."""
        self._seed = self._seed + self._stride if seed is None else seed
        self._num_steps = 0
        if self._seed >= self._stop:
            return self._last, {}
        self._last, infos = self.env.reset(seed=self._seed, options=options)
        return self._last, infos

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:  # noqa: ANN401 - of any space
        """Step the environment while it has episodes left."""
        if self._seed >= self._stop:
            return self._last, 0.0, False, False, {}
        self._last, reward, terminated, truncated, infos = self.env.step(action)
        self._num_steps += 1
        truncated = truncated or (not terminated and self._num_steps >= self._max_episode_steps)
        return self._last, reward, terminated, truncated, infos
