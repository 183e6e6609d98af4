"""Steps environment copies at the same time, each in a process of its own.

Gymnasium's `AsyncVectorEnv` cannot replace one copy: a worker that is killed takes all episodes with it,
and without a timeout the caller waits for ever. Like `SyncVector` this one collects no infos.
"""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

import functools
import pickle
from collections.abc import Sequence
from time import monotonic
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, iterate

from outrider.envrunner.environments.ends import Ends
from outrider.envrunner.environments.environment_process import EnvironmentProcess
from outrider.envrunner.environments.environment_processes import EnvironmentProcesses
from outrider.envrunner.environments.observation_batch import ObservationBatch
from outrider.envrunner.environments.served_environment import ServedEnvironment
from outrider.envrunner.environments.step_rewards import step_rewards
from outrider.envrunner.environments.sync_vector import MakeEnvironment, OnFailure, seeds_of

_Spaces: TypeAlias = "tuple[gym.Space[Any], gym.Space[Any], dict[str, Any]]"


class AsyncVector(gym.vector.VectorEnv[Any, Any, Any]):
    """A vector environment in SAME_STEP autoreset mode; failures are told as `SyncVector` tells them.

    A copy that does not answer a step or a reset within `timeout_s` seconds has failed. The arrays that
    it returns are its own, valid until the next call.
    """

    def __init__(
        self,
        make: Sequence[MakeEnvironment],
        *,
        on_failure: OnFailure,
        timeout_s: float,
        spec: EnvSpec | None = None,
    ) -> None:
        """Start all processes and wait for them. Raises ValueError where the environment cannot be made."""
        self._make = tuple(make)
        self._on_failure = on_failure
        self._timeout_s = timeout_s
        self._spec = spec
        self.num_envs = len(self._make)
        self._processes = EnvironmentProcesses(self._start, self.num_envs)
        with self._processes.ended_by_errors():
            spaces: list[_Spaces] = self._processes.introductions()
        self.single_observation_space, self.single_action_space, metadata = spaces[0]
        self.metadata = {**metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._shown = ObservationBatch(self.single_observation_space, self.num_envs)
        self._no_ends = np.zeros(self.num_envs, np.bool_)

    def _start(self, index: int) -> EnvironmentProcess:
        return EnvironmentProcess(functools.partial(ServedEnvironment, self._make[index]), self._spec)

    @property
    def process_ids(self) -> list[int]:
        """Process of each copy."""
        return self._processes.ids

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every copy, with seeds `seed`, `seed` + 1, ... or the given ones."""
        for process, one in zip(self._processes, seeds_of(seed, self.num_envs), strict=True):
            process.request("reset", (one, options))
        deadline = monotonic() + self._timeout_s
        for index, process in enumerate(self._processes):
            try:
                self._shown.latest[index] = process.answer(deadline)
            except Exception as error:  # noqa: BLE001 - any error of an environment means a new one
                self._replace(index, error)
        return self._shown.arrays(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step every copy, and reset those whose episode ended."""
        for process, action in zip(self._processes, iterate(self.action_space, actions), strict=True):
            process.request("step", action)
        deadline = monotonic() + self._timeout_s
        rewards: list[Any] = [0.0] * self.num_envs
        ends = None
        for index, process in enumerate(self._processes):
            try:
                self._shown.latest[index], rewards[index], terminated, truncated, final = process.answer(
                    deadline
                )
                if terminated or truncated:
                    ends = ends or Ends(self.num_envs)
                    ends.record(index, terminated, truncated, pickle.loads(final))  # noqa: S301 - our child's
            except Exception as error:  # noqa: BLE001 - any error of an environment means a new one
                ends = ends or Ends(self.num_envs)
                ends.record_failure(index)
                self._replace(index, error)
        if ends is None:
            return self._shown.arrays(), step_rewards(rewards), self._no_ends, self._no_ends, {}
        return self._shown.arrays(), step_rewards(rewards), ends.terminated, ends.truncated, ends.infos()

    def close_extras(self, **_: Any) -> None:
        """End every process."""
        self._processes.close()

    def _replace(self, index: int, error: Exception) -> None:
        """Start a new process where one failed. What goes wrong now is raised."""
        seed = self._on_failure(index, error)
        process = self._processes.replace(index)
        process.request("reset", (seed, None))
        self._shown.latest[index] = process.answer(monotonic() + self._timeout_s)
