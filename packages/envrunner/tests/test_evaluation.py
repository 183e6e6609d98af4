"""Evaluation counts every episode once, from fixed seeds."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.environments.restarts import EnvironmentsFailedError
from outrider.envrunner.sampling.evaluation import evaluate
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.wire import Columns, DiscreteSpace, EpisodeStatistics, TensorSpec, Weights, action_heads

MODE = gym.VectorizeMode
HEADS = action_heads(DiscreteSpace(num_values=2))


class SeedLength(gym.Env[NDArray[np.float32], np.int64]):
    """Episodes whose length is their seed modulo 10, plus 1; the observation counts the steps.

    Terminates if the length is odd and truncates if it is even. The reward is the action.
    """

    observation_space = gym.spaces.Box(0, 1000, (1,))
    action_space = gym.spaces.Discrete(2)
    num_made = 0

    def __init__(self, fails_in_seed: int = -1, *, fails_always: bool = False) -> None:
        type(self).num_made += 1
        self._first = type(self).num_made == 1
        self._fails_in_seed, self._fails_always = fails_in_seed, fails_always
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        assert seed is not None
        self._seed, self._step = seed, 0
        return np.zeros(1, np.float32), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self._step += 1
        if self._seed == self._fails_in_seed and self._step == 3 and (self._first or self._fails_always):
            raise OSError("the simulator has gone")
        length = self._seed % 10 + 1
        done = self._step == length
        return np.full(1, self._step, np.float32), float(action), done and length % 2 == 1, done, {}


class Fixed:
    """Prefers action 1 by the same logit everywhere."""

    state_spec: Mapping[str, TensorSpec] = {}

    def __init__(self, logit: float = 3.0) -> None:
        self.logit = logit

    def set_weights(self, weights: Weights) -> None: ...

    def act(
        self, observations: Columns, state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        num_rows = len(observations[""])
        return np.tile(np.float32([0, self.logit]), (num_rows, 1)), {}


class EverySecond(Fixed):
    """Takes action 1 in the second, fourth, ... step of an episode, which it counts itself."""

    state_spec: Mapping[str, TensorSpec] = {"count": TensorSpec(shape=(), dtype=np.dtype(np.float32))}

    def act(
        self, observations: Columns, state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        odd = state["count"] % 2
        return np.stack([1 - odd, odd], 1), {"count": state["count"] + 1}


class Balance(Fixed):
    """Holds CartPole's pole up for 500 steps."""

    def act(
        self, observations: Columns, state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        lean = observations[""] @ np.float32([0.1, 0.5, 3.0, 1.5])
        return np.stack([-lean, lean], 1), {}


@pytest.fixture(autouse=True)
def _count_from_zero() -> None:
    SeedLength.num_made = 0


def play(policy: Fixed, environment: EnvironmentSettings | None = None, **changes: Any) -> EpisodeStatistics:
    asked: dict[str, Any] = {"num_episodes": 10, "num_envs": 3, "seed": 20, "action_heads": HEADS, **changes}
    return evaluate(policy, environment or EnvironmentSettings(SeedLength), **asked)


@pytest.mark.parametrize("num_envs", [1, 3, 10, 50])
def test_each_episode_counts_once_whatever_the_number_of_environments(num_envs: int) -> None:
    episodes = play(Fixed(), num_envs=num_envs)
    assert episodes.lengths.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert episodes.returns.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_environments_in_processes_play_the_same_episodes() -> None:
    settings = EnvRunnerSettings(gym_env_vectorize_mode=MODE.ASYNC)
    asked = {"num_episodes": 5, "num_envs": 2, "seed": 20, "action_heads": HEADS}
    episodes = evaluate(Fixed(), EnvironmentSettings(SeedLength), settings, **asked)
    assert episodes.lengths.tolist() == [1, 2, 3, 4, 5]


def test_a_recurrent_policy_starts_every_episode_anew() -> None:
    assert play(EverySecond()).returns.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]


def test_without_exploration_the_most_likely_action_is_taken() -> None:
    assert play(Fixed(logit=-0.001)).returns.sum() == 0


def test_exploration_draws_actions_from_the_seed_alone() -> None:
    first, second = (play(Fixed(logit=0.0), explore=True).returns for _ in range(2))
    assert 0 < first.sum() < 55
    assert first.tolist() == second.tolist()


def test_numpys_global_generator_is_left_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002 - it is the subject
    play(Fixed(), explore=True)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]  # noqa: NPY002


@pytest.mark.parametrize("mode", list(MODE))
def test_cart_pole_is_held_in_every_mode(mode: gym.VectorizeMode) -> None:
    episodes = evaluate(
        Balance(),
        EnvironmentSettings("CartPole-v1", env_config={"max_episode_steps": 60}),
        EnvRunnerSettings(gym_env_vectorize_mode=mode),
        action_heads=HEADS,
        num_episodes=7,
        num_envs=3,
        seed=1,
    )
    assert episodes.returns.tolist() == [60.0] * 7
    assert episodes.lengths.tolist() == [60] * 7


def test_reset_rows_of_a_native_vector_environment_are_not_counted() -> None:
    """Always pushing right drops the pole after some steps, each of which is worth 1."""
    settings = EnvRunnerSettings(gym_env_vectorize_mode=MODE.VECTOR_ENTRY_POINT)
    episodes = evaluate(
        Fixed(),
        EnvironmentSettings("CartPole-v1"),
        settings,
        action_heads=HEADS,
        num_episodes=40,
        num_envs=4,
        seed=0,
    )
    assert episodes.returns.tolist() == episodes.lengths.tolist()
    assert set(episodes.lengths.tolist()) <= {8, 9, 10, 11}


def test_a_disabled_autoreset_is_done_by_mask() -> None:
    def make(num_envs: int) -> gym.vector.VectorEnv:
        one = lambda: gym.make("CartPole-v1", max_episode_steps=5)  # noqa: E731
        return gym.vector.SyncVectorEnv([one] * num_envs, autoreset_mode=gym.vector.AutoresetMode.DISABLED)

    settings = EnvRunnerSettings(gym_env_vectorize_mode=MODE.VECTOR_ENTRY_POINT)
    episodes = evaluate(
        Balance(), EnvironmentSettings(make), settings, action_heads=HEADS, num_episodes=5, num_envs=2, seed=0
    )
    assert episodes.lengths.tolist() == [5] * 5


def test_an_episode_without_end_is_cut_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        episodes = play(Fixed(), max_episode_steps=4)
    assert episodes.lengths.tolist() == [1, 2, 3, 4, 4, 4, 4, 4, 4, 4]
    assert "7 of 10 evaluation episodes were cut at 4 steps" in caplog.text


def test_an_endless_episode_of_a_native_vector_environment_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="at most 100 are allowed; give the environment a time limit"):
        evaluate(
            Balance(),
            EnvironmentSettings("CartPole-v1"),
            EnvRunnerSettings(gym_env_vectorize_mode=MODE.VECTOR_ENTRY_POINT),
            action_heads=HEADS,
            num_episodes=2,
            num_envs=2,
            seed=0,
            max_episode_steps=100,
        )


def test_an_episode_whose_environment_fails_is_played_again(caplog: pytest.LogCaptureFixture) -> None:
    environment = EnvironmentSettings(SeedLength, env_config={"fails_in_seed": 24})
    episodes = play(Fixed(), environment, num_envs=1)
    assert episodes.returns.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert "the simulator has gone" in caplog.text


def test_an_episode_that_ends_clears_the_count_of_failures() -> None:
    class FailsAtFirst(SeedLength):
        """Fails in the first two attempts at an episode of three steps or more."""

        attempts: ClassVar[Counter[int]] = Counter()

        def step(self, action: np.int64) -> Any:
            if self._step == 2 and self.attempts[self._seed] < 2:
                self.attempts[self._seed] += 1
                raise OSError("the simulator has gone")
            return super().step(action)

    settings = EnvRunnerSettings(max_env_restarts=2)
    assert play(Fixed(), EnvironmentSettings(FailsAtFirst), settings=settings).lengths.sum() == 55


def test_an_environment_that_always_fails_ends_the_evaluation() -> None:
    environment = EnvironmentSettings(SeedLength, env_config={"fails_in_seed": 24, "fails_always": True})
    with pytest.raises(EnvironmentsFailedError, match="the simulator has gone"):
        play(Fixed(), environment)


@pytest.mark.parametrize("name", ["num_episodes", "num_envs", "max_episode_steps"])
def test_numbers_below_one_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is 0; it must be at least 1"):
        play(Fixed(), **{name: 0})
