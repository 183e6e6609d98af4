"""A restored environment continues bit for bit."""

from __future__ import annotations

import functools
import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner.environments.environment_state import (
    restore_environment_state,
    save_environment_state,
)
from outrider.envrunner.environments.sync_vector import SyncVector

CLASSIC = ["CartPole-v1", "Pendulum-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1"]
MODE = gym.VectorizeMode


class Counter(gym.Env[int, int]):
    """Shows how many steps it has seen; knows its state."""

    observation_space = gym.spaces.Discrete(1000)
    action_space = gym.spaces.Discrete(2)

    def __init__(self) -> None:
        self.count = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        self.count += 1
        return self.count, self.np_random.random(), False, False, {}

    def get_state(self) -> dict[str, int]:
        return {"count": self.count}

    def set_state(self, state: dict[str, int]) -> None:
        self.count = state["count"]


class Forgetful(gym.Wrapper[Any, Any, Any, Any]):
    """A wrapper of which nobody knows what it remembers."""


def make(env_id: str, mode: gym.VectorizeMode = MODE.SYNC, **config: Any) -> gym.vector.VectorEnv:
    return gym.make_vec(env_id, 3, mode, **config)


def walk(vector: gym.vector.VectorEnv, actions: list[Any]) -> list[Any]:
    return [np.copy(part) for action in actions for part in vector.step(action)[:4]]


def assert_continues(make_one: Any, *, num_steps: int) -> None:
    first, second = make_one(), make_one()
    first.action_space.seed(0)
    first.reset(seed=5)
    second.reset(seed=99)
    walk(first, [first.action_space.sample() for _ in range(num_steps)])
    state = save_environment_state(first)
    future = [first.action_space.sample() for _ in range(60)]
    expected = walk(first, future)  # also shows that what was saved does not move on
    restore_environment_state(second, state)
    assert all(np.array_equal(*pair) for pair in zip(expected, walk(second, future), strict=True))


@pytest.mark.parametrize("env_id", CLASSIC)
def test_classic_control_continues_across_its_time_limit_and_resets(env_id: str) -> None:
    assert_continues(lambda: make(env_id, max_episode_steps=25), num_steps=40)


@pytest.mark.parametrize("env_id", CLASSIC)
def test_classic_control_continues_in_the_middle_of_an_episode(env_id: str) -> None:
    assert_continues(lambda: make(env_id), num_steps=7)


def test_the_runners_own_vector_environment_continues() -> None:
    def replace(index: int, error: BaseException) -> int:
        raise error

    one = functools.partial(gym.make, "CartPole-v1", max_episode_steps=12)
    assert_continues(lambda: SyncVector([one] * 3, on_failure=replace), num_steps=20)


@pytest.mark.parametrize("num_steps", [5, 30, 31, 32])
def test_the_native_cart_pole_continues(num_steps: int) -> None:
    assert_continues(
        lambda: make("CartPole-v1", MODE.VECTOR_ENTRY_POINT, max_episode_steps=30), num_steps=num_steps
    )


def test_an_environment_that_knows_its_state_continues_with_its_random_generator() -> None:
    assert_continues(lambda: gym.vector.SyncVectorEnv([Counter] * 3), num_steps=4)


def test_a_state_holds_only_plain_values() -> None:
    def plain(value: object) -> object:
        assert isinstance(value, np.ndarray)
        return value.tolist()

    vector = make("Acrobot-v1")
    vector.reset(seed=0)
    assert json.loads(json.dumps(save_environment_state(vector), default=plain))


def test_a_wrapper_that_nobody_knows_cannot_be_saved() -> None:
    vector = gym.vector.SyncVectorEnv([lambda: Forgetful(gym.make("CartPole-v1"))])
    assert save_environment_state(vector) is None


def test_environments_in_other_processes_cannot_be_saved() -> None:
    vector = make("CartPole-v1", MODE.ASYNC)
    state = save_environment_state(vector)
    vector.close()
    assert state is None


def test_a_state_of_another_environment_is_refused() -> None:
    vector = make("CartPole-v1")
    vector.reset(seed=0)
    state = save_environment_state(vector)
    with pytest.raises(ValueError, match="is of CartPoleEnv and the environment is AcrobotEnv; resume with"):
        restore_environment_state(make("Acrobot-v1"), state)
    with pytest.raises(ValueError, match="is of 3 environment copies and there are 1; resume with"):
        restore_environment_state(gym.vector.SyncVectorEnv([Counter]), state)
