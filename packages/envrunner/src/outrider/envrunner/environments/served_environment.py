"""An environment of one agent in a process of its own, as `AsyncVector` asks for it."""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym


class ServedEnvironment:
    """Answers "reset" with an observation, and "step" with what came of it, the next reset included."""

    def __init__(self, make: Callable[[], gym.Env[Any, Any]]) -> None:
        """Make the environment."""
        self._env = make()

    def introduction(self) -> tuple[gym.Space[Any], gym.Space[Any], dict[str, Any]]:
        """Return its observation space, action space and metadata."""
        return self._env.observation_space, self._env.action_space, self._env.metadata

    def answer(self, command: str, argument: Any) -> Any:
        """Do "step" with an action: (observation, reward, terminated, truncated, final observation or None).

        "reset" takes (seed, options).
        """
        if command == "reset":
            seed, options = argument
            return self._env.reset(seed=seed, options=options)[0]
        observation, reward, terminated, truncated, _ = self._env.step(argument)
        if not (terminated or truncated):
            return observation, reward, terminated, truncated, None
        final = pickle.dumps(observation)  # before the reset, which may write into the same memory
        first = self._env.reset()[0]
        return first, reward, terminated, truncated, final

    def close(self) -> None:
        """Close the environment."""
        self._env.close()
