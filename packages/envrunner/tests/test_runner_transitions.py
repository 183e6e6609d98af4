"""Fragments hold the transitions that a naive loop over one environment sees, in every autoreset mode."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from outrider.envrunner import EnvironmentSettings, EnvRunner, EnvRunnerSettings
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.environments.vector_environment import environment_seed
from outrider.testing.scripted import ScriptedEnvironment, ScriptedPolicy, scripted_vector, scripted_weights
from outrider.wire import Fragment

SEED = 7
NUM_ENVS = 5
NUM_STEPS = 9
NUM_FRAGMENTS = 4

SeedOf = Callable[[int], int]


@dataclass
class Episodes:
    """What a naive loop over one environment saw, one entry a step."""

    observations: list[NDArray[Any]] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)
    following: list[NDArray[Any]] = field(default_factory=list)
    counts: list[float] = field(default_factory=list)
    ended: dict[int, tuple[float, int]] = field(default_factory=dict)


def naive_loop(seed: int, versions: Iterator[int], num_steps: int) -> Episodes:
    """Step one environment, one row at a time, with the most likely actions."""
    env, policy, seen = ScriptedEnvironment(), ScriptedPolicy(), Episodes()
    observation, _ = env.reset(seed=seed)
    state, episode_return, length = {"count": np.zeros((1, 1), np.float32)}, 0.0, 0
    for step in range(num_steps):
        policy.set_weights(scripted_weights(next(versions)))
        seen.observations.append(observation.copy())
        seen.counts.append(float(state["count"][0, 0]))
        parameters, state = policy.act({"": observation[None]}, state)
        action = int(parameters[0].argmax())
        observation, reward, terminated, truncated, _ = env.step(np.int64(action))
        seen.actions.append(action)
        seen.rewards.append(reward)
        seen.terminated.append(terminated)
        seen.truncated.append(truncated)
        seen.following.append(observation.copy())
        episode_return, length = episode_return + reward, length + 1
        if terminated or truncated:
            seen.ended[step] = (episode_return, length)
            observation, _ = env.reset()
            state, episode_return, length = {"count": np.zeros((1, 1), np.float32)}, 0.0, 0
    return seen


def runner_of(environment: Any, mode: str) -> EnvRunner:
    env, policy = ScriptedEnvironment(), ScriptedPolicy()
    return EnvRunner(
        EnvironmentSettings(env=environment),
        EnvRunnerSettings(num_envs_per_env_runner=NUM_ENVS, gym_env_vectorize_mode=mode, explore=False),
        policy,
        observation_space=space_from_gymnasium(env.observation_space),
        action_heads=policy.action_heads,
        num_steps=NUM_STEPS,
        seed=SEED,
        first_environment=10,
    )


def native(autoreset_mode: AutoresetMode, make: Any = scripted_vector) -> tuple[Any, str, SeedOf]:
    first = environment_seed(SEED, 10)
    return (
        functools.partial(make, autoreset_mode=autoreset_mode),
        "vector_entry_point",
        lambda i: first + i,
    )


def own(mode: str) -> tuple[Any, str, SeedOf]:
    careless = functools.partial(ScriptedEnvironment, reuses_memory=True)
    return careless, mode, lambda i: environment_seed(SEED, 10 + i)


class Flagged(gym.vector.VectorWrapper):
    """Says what ended in whole numbers, as some environments do."""

    def step(self, actions: Any) -> Any:
        value, rewards, terminated, truncated, infos = super().step(actions)
        return value, rewards, terminated.astype(np.uint8), truncated.astype(np.uint8), infos


def flagged(num_envs: int, autoreset_mode: AutoresetMode) -> Any:
    return Flagged(scripted_vector(num_envs=num_envs, autoreset_mode=autoreset_mode))


CASES = {
    "sync": own("sync"),
    "async": own("async"),
    "next_step": native(AutoresetMode.NEXT_STEP),
    "same_step": native(AutoresetMode.SAME_STEP),
    "disabled": native(AutoresetMode.DISABLED),
    "flags as numbers": native(AutoresetMode.NEXT_STEP, flagged),
}


@dataclass
class Sampled:
    """Fragments of one runner, and for each environment the rows that a naive loop saw."""

    fragments: list[Fragment]
    expected: dict[int, Episodes]


@pytest.fixture(scope="module", params=CASES)
def sampled(request: pytest.FixtureRequest) -> Sampled:
    environment, mode, seed_of = CASES[request.param]
    runner = runner_of(environment, mode)
    fragments = []
    for version in range(NUM_FRAGMENTS):
        runner.set_weights(scripted_weights(version))
        fragments.append(runner.sample())
    runner.close()
    expected = {}
    for index in range(NUM_ENVS):
        lengths = [stream_slice(fragment, 10 + index) for fragment in fragments]
        versions = [v for v, rows in enumerate(lengths) for _ in range(rows.stop - rows.start)]
        expected[10 + index] = naive_loop(seed_of(index), iter(versions), len(versions))
    return Sampled(fragments, expected)


def stream_slice(fragment: Fragment, environment: int) -> slice:
    """Rows of an environment's stream."""
    (stream,) = np.flatnonzero(fragment.streams.environment == environment)
    stop = int(fragment.streams.lengths[: stream + 1].sum())
    return slice(stop - int(fragment.streams.lengths[stream]), stop)


def rows(sampled: Sampled, column: Callable[[Fragment], NDArray[Any]], environment: int) -> NDArray[Any]:
    """One environment's rows over all fragments."""
    return np.concatenate([column(f)[stream_slice(f, environment)] for f in sampled.fragments])


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (lambda f: f.observations[""], "observations"),
        (lambda f: f.actions[""], "actions"),
        (lambda f: f.rewards, "rewards"),
        (lambda f: f.terminated, "terminated"),
        (lambda f: f.truncated, "truncated"),
    ],
)
def test_rows_are_those_of_the_naive_loop(sampled: Sampled, column: Any, name: str) -> None:
    for environment, expected in sampled.expected.items():
        np.testing.assert_array_equal(rows(sampled, column, environment), getattr(expected, name))


def test_the_script_ends_episodes_in_every_way(sampled: Sampled) -> None:
    ends = {
        (terminated, truncated)
        for expected in sampled.expected.values()
        for terminated, truncated in zip(expected.terminated, expected.truncated, strict=True)
    }
    assert ends == {(False, False), (True, False), (False, True), (True, True)}


def test_what_follows_a_row_is_the_next_row_or_a_sparse_next_observation(sampled: Sampled) -> None:
    done = dict.fromkeys(sampled.expected, 0)
    for fragment in sampled.fragments:
        sparse = dict(zip(fragment.next_rows.tolist(), fragment.next_observations[""], strict=True))
        for environment, expected in sampled.expected.items():
            rows_of_stream = stream_slice(fragment, environment)
            for row in range(rows_of_stream.start, rows_of_stream.stop):
                follows = expected.following[done[environment]]
                is_last = row == rows_of_stream.stop - 1
                if fragment.terminated[row]:
                    assert row not in sparse
                elif fragment.truncated[row] or is_last:
                    np.testing.assert_array_equal(sparse.pop(row), follows)
                else:
                    np.testing.assert_array_equal(fragment.observations[""][row + 1], follows)
                done[environment] += 1
        assert not sparse


def test_sparse_rows_ascend(sampled: Sampled) -> None:
    for fragment in sampled.fragments:
        assert (np.diff(fragment.next_rows) > 0).all()


def test_recurrent_state_is_that_before_each_streams_first_row(sampled: Sampled) -> None:
    done = dict.fromkeys(sampled.expected, 0)
    for fragment in sampled.fragments:
        for environment, length, count in zip(
            fragment.streams.environment.tolist(),
            fragment.streams.lengths.tolist(),
            fragment.streams.state["count"],
            strict=True,
        ):
            assert count == [sampled.expected[environment].counts[done[environment]]]
            done[environment] += length


def test_episode_statistics_are_those_of_the_naive_loop(sampled: Sampled) -> None:
    got = sorted(
        (float(episode_return), int(length))
        for fragment in sampled.fragments
        for episode_return, length in zip(fragment.episodes.returns, fragment.episodes.lengths, strict=True)
    )
    assert got == sorted(each for expected in sampled.expected.values() for each in expected.ended.values())


def test_every_fragment_says_which_version_acted(sampled: Sampled) -> None:
    assert [fragment.policy_version.tolist() for fragment in sampled.fragments] == [[0], [1], [2], [3]]


def test_copies_differ(sampled: Sampled) -> None:
    assert len({float(expected.observations[0][0]) for expected in sampled.expected.values()}) == NUM_ENVS
