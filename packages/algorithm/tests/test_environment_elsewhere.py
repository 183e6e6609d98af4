from __future__ import annotations

from collections.abc import Iterator

import cloudpickle
import gymnasium as gym
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.registration import VectorizeMode

from outrider.algorithm.assembly.environment_elsewhere import environment_elsewhere
from outrider.envrunner import EnvironmentSettings


class Pole(CartPoleEnv):
    """An environment of the user's."""


@pytest.fixture
def registered() -> Iterator[str]:
    gym.register("OnlyHere-v0", entry_point=Pole, max_episode_steps=7)
    yield "OnlyHere-v0"
    del gym.registry["OnlyHere-v0"]


@pytest.mark.parametrize("env", ["CartPole-v1", "ALE/Pong-v5", "module:Id-v0", "Unknown-v0"])
def test_what_others_can_find_stays_an_id(env: str) -> None:
    settings = EnvironmentSettings(env)
    assert environment_elsewhere(settings, VectorizeMode.SYNC) is settings


def test_what_only_this_process_has_registered_goes_along(registered: str) -> None:
    settings = environment_elsewhere(EnvironmentSettings(registered), VectorizeMode.SYNC)
    pickled = cloudpickle.dumps(settings.env)
    del gym.registry[registered]
    env = cloudpickle.loads(pickled)()
    assert isinstance(env.unwrapped, Pole)
    assert env.spec.max_episode_steps == 7
    gym.register(registered, entry_point=Pole)
