"""What a whole training run takes the value of a cut episode, and of a finished one, to be."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from outrider.algorithm import PPOConfig

DISCOUNT = 0.8
NUM_STEPS = 5


class Steady(gym.Env[Any, Any]):
    """Pays 1 in every step, looks the same always, and ends after five steps in the way it is told."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, *, truncates: bool) -> None:
        self._truncates = truncates
        self._step = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._step = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        ends = self._step == NUM_STEPS
        return np.zeros(1, np.float32), 1.0, ends and not self._truncates, ends and self._truncates, {}


def learned_value(mode: str, *, truncates: bool, autoreset: AutoresetMode | None = None) -> float:
    """Train for a moment; return what the module takes the only observation to be worth."""

    def steady() -> Steady:
        return Steady(truncates=truncates)

    def native(num_envs: int) -> SyncVectorEnv:
        return SyncVectorEnv([steady] * num_envs, autoreset_mode=autoreset)

    config = (
        PPOConfig()
        .environment(steady if autoreset is None else native)
        .env_runners(num_envs_per_env_runner=4, gym_env_vectorize_mode=mode)
        .training(lr=1e-2, gamma=DISCOUNT, train_batch_size_per_learner=128, minibatch_size=64)
        .rl_module(fcnet_hiddens=(8,))
        .debugging(seed=0)
    )
    with config.build() as algorithm:
        for _ in range(40):
            algorithm.train()
        with torch.no_grad():
            return float(algorithm.policy({"": torch.zeros(1, 1)})[1])


@pytest.mark.parametrize(
    ("mode", "autoreset"),
    [("sync", None), *(("vector_entry_point", autoreset) for autoreset in AutoresetMode)],
)
def test_an_episode_that_is_cut_is_worth_what_would_have_followed(
    mode: str, autoreset: AutoresetMode | None
) -> None:
    for_ever = 1 / (1 - DISCOUNT)
    assert learned_value(mode, truncates=True, autoreset=autoreset) == pytest.approx(for_ever, abs=0.1)


def test_an_episode_that_finishes_is_worth_what_it_paid() -> None:
    # One value for five states with 1 to 5 rewards to come: between the last one's and the first one's.
    assert 1.0 < learned_value("sync", truncates=False) < 4.0
