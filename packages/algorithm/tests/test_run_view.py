from __future__ import annotations

from functools import partial

import gymnasium as gym
import pytest

from outrider.algorithm.views.run_view import env_name


@pytest.mark.parametrize(
    ("env", "name"),
    [("ALE/Pong-v5", "ALE/Pong-v5"), (gym.make, "make"), (partial(gym.make, "CartPole-v1"), "partial")],
)
def test_an_environment_has_a_name_without_addresses(env: object, name: str) -> None:
    assert env_name(env) == name
