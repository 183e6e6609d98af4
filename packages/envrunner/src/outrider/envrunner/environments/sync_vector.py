"""Steps environment copies one after the other in the calling process.

Gymnasium's `SyncVectorEnv` costs as much as a CartPole step itself. This one keeps what a runner needs
(spaces, batched observations, SAME_STEP resets with `final_obs`) and leaves out what it does not: the
copies' infos are not collected, and the arrays it returns are its own, valid until the next call.
"""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space, iterate

from outrider.envrunner.environments.closing import close_all
from outrider.envrunner.environments.ends import Ends
from outrider.envrunner.environments.observation_batch import ObservationBatch
from outrider.envrunner.environments.quick_contains import quicken
from outrider.envrunner.environments.step_rewards import step_rewards

MakeEnvironment = Callable[[], gym.Env[Any, Any]]
OnFailure = Callable[[int, BaseException], int]
"""Told that copy `index` failed with an error; returns the seed for the copy that replaces it, or raises."""


class SyncVector(gym.vector.VectorEnv[Any, Any, Any]):
    """A vector environment in SAME_STEP autoreset mode.

    A copy that raises is replaced: its row then has `truncated`, the first observation of the new copy,
    and a True in `infos[ends.FAILED]` [num_envs], because no transition happened there.
    """

    def __init__(self, make: Sequence[MakeEnvironment], *, on_failure: OnFailure) -> None:
        """Make all copies."""
        self._make = tuple(make)
        self._on_failure = on_failure
        self.num_envs = len(self._make)
        self.envs: list[gym.Env[Any, Any]] = []
        try:
            self.envs += (make_one() for make_one in self._make)
        except BaseException:
            close_all(*self.envs)
            raise
        for env in self.envs:
            quicken(env)
        first = self.envs[0]
        self.metadata = {**first.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}
        self.render_mode = first.render_mode
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, self.num_envs)
        self.action_space = batch_space(first.action_space, self.num_envs)
        self._steps = [env.step for env in self.envs]
        self._rewards: list[Any] = [0.0] * self.num_envs
        self._shown = ObservationBatch(self.single_observation_space, self.num_envs)
        self._no_ends = np.zeros(self.num_envs, np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every copy, with seeds `seed`, `seed` + 1, ... or the given ones."""
        for index, (env, one) in enumerate(zip(self.envs, seeds_of(seed, self.num_envs), strict=True)):
            try:
                self._shown.latest[index], _ = env.reset(seed=one, options=options)
            except Exception as error:  # noqa: BLE001 - any error of an environment means a new one
                self._replace(index, error)
        return self._shown.arrays(), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step every copy, and reset those whose episode ended."""
        latest, rewards, ends = self._shown.latest, self._rewards, None
        index = 0
        pending = enumerate(zip(self._steps, self._split(actions), strict=True))
        while True:
            try:
                for index, (step, action) in pending:
                    latest[index], rewards[index], terminated, truncated, _ = step(action)
                    if terminated or truncated:
                        ends = ends or Ends(self.num_envs)
                        ends.record(index, terminated, truncated, _copy(latest[index]))
                        latest[index], _ = self.envs[index].reset()
                break
            except Exception as error:  # noqa: BLE001 - any error of an environment means a new one
                ends = ends or Ends(self.num_envs)
                ends.record_failure(index)
                self._replace(index, error)
        if ends is None:
            return self._shown.arrays(), step_rewards(rewards), self._no_ends, self._no_ends, {}
        return self._shown.arrays(), step_rewards(rewards), ends.terminated, ends.truncated, ends.infos()

    def close_extras(self, **_: Any) -> None:
        """Close every copy."""
        close_all(*self.envs)

    def _split(self, actions: Any) -> Any:
        if isinstance(self.single_action_space, gym.spaces.Dict | gym.spaces.Tuple):
            return list(iterate(self.action_space, actions))
        return actions

    def _replace(self, index: int, error: Exception) -> None:
        """Put a new copy where one failed. What goes wrong now is raised."""
        seed = self._on_failure(index, error)
        with contextlib.suppress(Exception):
            self.envs[index].close()
        env = self._make[index]()
        quicken(env)
        self.envs[index], self._steps[index] = env, env.step
        self._rewards[index] = 0.0
        self._shown.latest[index], _ = env.reset(seed=seed)


def _copy(observation: Any) -> Any:
    """Copy a final observation, because the reset may write into the same memory."""
    return observation.copy() if isinstance(observation, np.ndarray) else copy.deepcopy(observation)


def seeds_of(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """Spell out the `seed` argument of a vector environment's reset: one for each copy."""
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, int):
        return [seed + index for index in range(num_envs)]
    return list(seed)
