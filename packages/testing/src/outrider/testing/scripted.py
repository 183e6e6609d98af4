"""Environments and a policy whose every step is known beforehand."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from outrider.wire import ActionHead, Columns, DiscreteSpace, TensorSpec, Weights, action_heads

End: TypeAlias = tuple[int, Literal["terminated", "truncated", "both"]]
"""Length of an episode, and how it ends."""

NUM_ACTIONS = 3


class ScriptedEnvironment(gym.Env[NDArray[np.float32], np.int64]):
    """Episodes of known lengths and ends, over and over.

    It shows (seed of the last seeded reset modulo 1000, episodes since that reset, step of the episode),
    and rewards 100 * episode + 10 * step + action. The seed also says with which end the script begins,
    so that copies differ.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - Gymnasium declares it this way

    def __init__(
        self,
        *,
        ends: Sequence[End] = ((3, "terminated"), (5, "truncated"), (2, "both"), (1, "truncated")),
        raises_at: int | None = None,
        hangs_at: int | None = None,
        reuses_memory: bool = False,
    ) -> None:
        """Raise, or hang, at the step of that number, counted over the object's life from 1.

        With `reuses_memory` it shows one array all the time, which fast environments do.
        """
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
        self.action_space = gym.spaces.Discrete(NUM_ACTIONS)
        self._ends = tuple(ends)
        self._raises_at = raises_at
        self._hangs_at = hangs_at
        self._reuses_memory = reuses_memory
        self._num_steps = 0
        self._episode = -1
        self._first_end = 0
        self._observation = np.zeros(3, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin the next episode of the script, or with a seed the first one."""
        super().reset(seed=seed)
        if seed is not None:
            self._observation[0] = seed % 1000
            self._first_end = seed % len(self._ends)
            self._episode = -1
        self._episode += 1
        self._observation[1:] = self._episode, 0
        return self._show(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Do one step of the script."""
        self._num_steps += 1
        if self._num_steps == self._raises_at:
            raise ArithmeticError(f"scripted failure at step {self._num_steps}")
        if self._num_steps == self._hangs_at:
            time.sleep(3600)
        length, how = self._ends[(self._first_end + self._episode) % len(self._ends)]
        reward = 100.0 * self._episode + 10.0 * float(self._observation[2]) + float(action)
        self._observation[2] += 1
        over = int(self._observation[2]) == length
        return self._show(), reward, over and how != "truncated", over and how != "terminated", {}

    def _show(self) -> NDArray[np.float32]:
        return self._observation if self._reuses_memory else self._observation.copy()


def scripted_vector(*, num_envs: int, autoreset_mode: AutoresetMode) -> SyncVectorEnv[Any, Any]:
    """Make scripted environments in Gymnasium's own vector environment, in any autoreset mode."""
    return SyncVectorEnv([ScriptedEnvironment] * num_envs, autoreset_mode=autoreset_mode)


class ScriptedPolicy:
    """An `ActingPolicy` for scripted environments whose parameters can be worked out by hand.

    Its recurrent state counts the steps since the episode's start, and it prefers action
    (count + step + episode + weight) % 3, where the weight is its only tensor.
    """

    fingerprint = "scripted"

    def __init__(self) -> None:
        """Start with the weight zero."""
        self.state_spec: Mapping[str, TensorSpec] = {
            "count": TensorSpec(shape=(1,), dtype=np.dtype(np.float32))
        }
        self.action_heads: tuple[ActionHead, ...] = action_heads(DiscreteSpace(num_values=NUM_ACTIONS))
        self._weight = 0.0

    def set_weights(self, weights: Weights) -> None:
        """Take the weight. Raises ValueError for weights of another module."""
        if weights.fingerprint != self.fingerprint:
            raise ValueError(f"weights fit {weights.fingerprint}, not {self.fingerprint}")
        self._weight = float(weights.tensors["weight"])

    def act(
        self, observations: Columns, state: Columns
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
        """Prefer one action by 2 over the others."""
        observation, count = observations[""], state["count"]
        preferred = (count[:, 0] + observation[:, 1] + observation[:, 2] + self._weight) % NUM_ACTIONS
        parameters = 2.0 * (preferred[:, None] == np.arange(NUM_ACTIONS)).astype(np.float32)
        return parameters.astype(np.float32), {"count": count + 1}


def scripted_weights(version: int) -> Weights:
    """Weights for a `ScriptedPolicy`; each version prefers other actions than the one before."""
    tensors = {"weight": np.array(float(version), np.float32)}
    return Weights(version=version, fingerprint=ScriptedPolicy.fingerprint, tensors=tensors)
