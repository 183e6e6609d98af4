"""Whatever fails and whenever: every row happened, is followed by what really followed, and is counted once.

Environments show (number of the object, episode, step, planned length, planned end), so that each row says
by itself what must follow it.
"""

from __future__ import annotations

import functools
import itertools
import random
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from outrider.envrunner import EnvironmentSettings, EnvRunner, EnvRunnerSettings
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.testing.fragments import assert_well_formed
from outrider.testing.scripted import scripted_weights
from outrider.wire import DiscreteSpace, Fragment, TensorSpec, action_heads

HEADS = action_heads(DiscreteSpace(num_values=2))
STEP, LENGTH, END = 2, 3, 4
TERMINATES, TRUNCATES = (0, 2), (1, 2)
NUM_FRAGMENTS = 12


class Unreliable(gym.Env[Any, Any]):
    """Fails now and then, in a step or in a reset."""

    observation_space = gym.spaces.Box(0, 1e9, (5,), np.float64)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, chance: random.Random, numbers: Any) -> None:
        self._chance = chance
        self._shown = np.zeros(5)
        self._shown[0] = next(numbers)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self._fail_now_and_then()
        self._shown[1] += 1
        self._shown[STEP:] = 0, self._chance.randint(1, 7), self._chance.randint(0, 2)
        return self._shown.copy(), {}

    def step(self, action: Any) -> Any:
        self._fail_now_and_then()
        self._shown[STEP] += 1
        over, end = self._shown[STEP] == self._shown[LENGTH], self._shown[END]
        return self._shown.copy(), 1.0, over and end in TERMINATES, over and end in TRUNCATES, {}

    def _fail_now_and_then(self) -> None:
        if self._chance.random() < 0.03:
            raise OSError("bad luck")


class CountingPolicy:
    """Puts out the steps since the state was zero, which is how many an episode has had."""

    state_spec: Any = {"count": TensorSpec(shape=(1,), dtype=np.dtype(np.float32))}  # noqa: RUF012

    def set_weights(self, weights: Any) -> None: ...

    def act(self, observations: Any, state: Any) -> Any:
        return np.repeat(state["count"], 2, 1), {"count": state["count"] + 1}


def make_runner(mode: AutoresetMode | None, seed: int) -> EnvRunner:
    """Make a runner with Gymnasium's vector environment in some mode, or with SYNC."""
    chance = random.Random(seed)
    make: Any = functools.partial(Unreliable, chance, itertools.count())
    if mode is not None:
        make = functools.partial(_native, make=make, mode=mode)
    settings = EnvRunnerSettings(
        num_envs_per_env_runner=chance.choice([1, 3]),
        gym_env_vectorize_mode="sync" if mode is None else "vector_entry_point",
        max_env_restarts=1000,
        explore=False,
        record_action_parameters=True,
    )
    runner = EnvRunner(
        EnvironmentSettings(make),
        settings,
        CountingPolicy(),
        observation_space=space_from_gymnasium(Unreliable.observation_space),
        action_heads=HEADS,
        num_steps=chance.choice([1, 2, 5, 16]),
        seed=seed,
    )
    runner.set_weights(scripted_weights(0))
    return runner


def _native(num_envs: int, *, make: Any, mode: AutoresetMode) -> Any:
    return SyncVectorEnv([make] * num_envs, autoreset_mode=mode)


def assert_true(fragment: Fragment) -> None:
    """Check every row against what it says of itself."""
    shown, lasts = fragment.observations[""], np.cumsum(fragment.streams.lengths) - 1
    followed = dict(zip(fragment.next_rows.tolist(), fragment.next_observations[""], strict=True))
    assert fragment.action_parameters is not None
    np.testing.assert_array_equal(fragment.action_parameters[:, 0], shown[:, STEP])
    np.testing.assert_array_equal(
        fragment.streams.state["count"][:, 0], shown[lasts + 1 - fragment.streams.lengths, STEP]
    )
    ended = []
    for row in range(fragment.num_rows):
        following = shown[row] + (0, 0, 1, 0, 0)
        if following[STEP] == following[LENGTH]:
            ended.append(int(following[STEP]))
            assert fragment.terminated[row] == (following[END] in TERMINATES)
            assert fragment.truncated[row] == (following[END] in TRUNCATES)
        else:
            assert not fragment.terminated[row]
        if not fragment.terminated[row]:
            goes_on = not fragment.truncated[row] and row not in lasts
            np.testing.assert_array_equal(shown[row + 1] if goes_on else followed[row], following)
    assert sorted(fragment.episodes.lengths.tolist()) == sorted(ended)
    np.testing.assert_array_equal(fragment.episodes.returns, fragment.episodes.lengths)


@pytest.mark.parametrize("mode", [None, *AutoresetMode])
def test_fragments_keep_their_promises_whatever_fails(mode: AutoresetMode | None) -> None:
    num_restarts = 0
    for seed in range(8):
        runner = make_runner(mode, seed)
        for _ in range(NUM_FRAGMENTS):
            fragment = runner.sample()
            assert_well_formed(fragment)
            assert_true(fragment)
            num_restarts += fragment.statistics.num_restarts
    assert num_restarts > 20, "too little failed for this to mean anything"
