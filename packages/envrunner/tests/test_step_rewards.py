"""Rewards of a step are numbers, or refused as what they are."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner.environments.step_rewards import step_rewards
from outrider.envrunner.environments.sync_vector import SyncVector


@pytest.mark.parametrize("number", [2, 2.0, True, np.float32(2), np.array(2.0)])
def test_any_number_is_a_reward(number: Any) -> None:
    assert step_rewards([0.5, number]).tolist() == [0.5, float(number)]


@pytest.mark.parametrize(
    ("reward", "words"), [(None, "None of type NoneType"), ("much", "'much' of type str")]
)
def test_what_is_no_number_is_said(reward: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"the reward is {words}; return one number"):
        step_rewards([0.5, reward])


class Unpaid(gym.Env[Any, Any]):
    """Gives nothing for its second step."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.rewards: list[Any] = [1.0, None]
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(1, np.float32), self.rewards.pop(0), False, False, {}


def test_none_is_refused_also_in_a_later_step() -> None:
    vector = SyncVector([Unpaid, Unpaid], on_failure=lambda *_: 0)
    vector.reset(seed=1)
    vector.step(np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="the reward is None"):
        vector.step(np.zeros(2, np.int64))
