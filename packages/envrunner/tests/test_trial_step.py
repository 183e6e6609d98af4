"""One step is tried before anything starts, and what would go wrong later is said then."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner.environments.environment import (
    EnvironmentSettings,
    make_native_vector,
    spaces_of,
)

MODE = gym.VectorizeMode


class Wrong(gym.Env[Any, Any]):
    """Keeps to its spaces unless told otherwise."""

    observation_space = gym.spaces.Box(-1, 1, (3,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, *, reward: Any = 0.0, num_features: int = 3) -> None:
        self._reward = reward
        self._num_features = num_features

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(self._num_features, np.float32), self._reward, False, False, {}


def first_step_of(**wrong: Any) -> str:
    with pytest.raises(ValueError, match="environment Wrong failed at its first step") as refused:
        spaces_of(EnvironmentSettings(Wrong, env_config=wrong), MODE.SYNC)
    return str(refused.value)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium's checker warns, and goes on
def test_an_observation_that_numpy_would_stretch_is_refused() -> None:
    assert "the observation has shape (1,) and its space (3,)" in first_step_of(num_features=1)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("reward", [None, np.zeros(1)])
def test_a_reward_that_is_no_number_is_refused(reward: Any) -> None:
    assert f"the reward is {reward!r} of type {type(reward).__name__}; return one number" in first_step_of(
        reward=reward
    )


def test_a_native_vector_of_another_size_is_refused() -> None:
    def three(num_envs: int) -> gym.vector.VectorEnv:
        return gym.vector.SyncVectorEnv([Wrong] * 3)

    with pytest.raises(ValueError, match="three returned 3 copies where num_envs is 2; make as many"):
        make_native_vector(EnvironmentSettings(three), 2)


class Strict(gym.Env[Any, Any]):
    """Allows only the last value of each action component, and says so in its observation's mask."""

    def __init__(self, action_space: gym.Space[Any], mask: list[int], allowed: Any) -> None:
        self.action_space = action_space
        self.observation_space = gym.spaces.Dict(action_mask=gym.spaces.MultiBinary(len(mask)))
        self._mask, self._allowed = np.array(mask, np.int8), allowed

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return {"action_mask": self._mask.copy()}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert np.array_equal(action, self._allowed), "an illegal move"
        return {"action_mask": self._mask.copy()}, 0.0, False, False, {}


@pytest.mark.parametrize(
    ("action_space", "mask", "allowed"),
    [
        (gym.spaces.Discrete(3, start=5), [0, 0, 1], 7),
        (gym.spaces.MultiDiscrete([2, 3]), [0, 1, 0, 0, 1], [1, 2]),
    ],
)
def test_the_trial_step_obeys_the_action_mask(action_space: Any, mask: list[int], allowed: Any) -> None:
    spaces_of(EnvironmentSettings(lambda: Strict(action_space, mask, allowed)), "sync")
