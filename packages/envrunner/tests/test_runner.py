"""What a runner does beside stepping: seeds, exploration, versions, parameters, saving and resuming."""

from __future__ import annotations

import functools
import logging
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunner, EnvRunnerSettings, OnnxPolicy
from outrider.envrunner.environments.environment import spaces_of
from outrider.testing.fragments import assert_same_fragment, assert_well_formed
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.testing.scripted import ScriptedEnvironment, ScriptedPolicy, scripted_weights
from outrider.wire import PolicyGraph

CARTPOLE = EnvironmentSettings("CartPole-v1")


def graph_of(environment: EnvironmentSettings, mode: Any = "sync") -> PolicyGraph:
    settings = EnvRunnerSettings(gym_env_vectorize_mode=mode)
    return mlp_graph(*spaces_of(environment, settings.gym_env_vectorize_mode), num_hidden=8)


def make_runner(
    environment: EnvironmentSettings = CARTPOLE, seed: int = 0, first_environment: int = 0, **settings: Any
) -> EnvRunner:
    graph = graph_of(environment, settings.get("gym_env_vectorize_mode", "sync"))
    runner = EnvRunner(
        environment,
        EnvRunnerSettings(**{"num_envs_per_env_runner": 4, **settings}),
        OnnxPolicy(graph),
        observation_space=graph.observation_space,
        action_heads=graph.action_heads,
        num_steps=16,
        seed=seed,
        first_environment=first_environment,
    )
    runner.set_weights(mlp_weights(graph))
    return runner


def test_runners_with_other_environments_draw_other_actions_and_episodes() -> None:
    first, second = make_runner().sample(), make_runner(first_environment=4).sample()
    assert second.streams.environment.tolist() == [4, 5, 6, 7]
    assert not np.array_equal(first.observations[""], second.observations[""])
    assert not np.array_equal(first.actions[""], second.actions[""])


def test_sync_and_async_give_the_same_fragments() -> None:
    in_turn, at_once = make_runner(), make_runner(gym_env_vectorize_mode="async")
    for _ in range(3):
        assert_same_fragment(in_turn.sample(), at_once.sample())
    at_once.close()


def test_without_exploration_the_most_likely_action_is_taken() -> None:
    fragment = make_runner(explore=False, record_action_parameters=True).sample()
    assert fragment.action_parameters is not None
    np.testing.assert_array_equal(fragment.actions[""], fragment.action_parameters.argmax(1))


def test_a_call_may_override_exploration() -> None:
    runner = make_runner(record_action_parameters=True)
    fragment = runner.sample(explore=False)
    assert fragment.action_parameters is not None
    np.testing.assert_array_equal(fragment.actions[""], fragment.action_parameters.argmax(1))


def test_log_probabilities_are_those_of_the_recorded_parameters() -> None:
    fragment = make_runner(record_action_parameters=True).sample()
    logits = fragment.action_parameters
    assert logits is not None
    log_softmax = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = np.take_along_axis(log_softmax, fragment.actions[""][:, None], 1)[:, 0]
    np.testing.assert_allclose(fragment.action_log_probs, expected, atol=1e-6)


def test_parameters_are_left_out_where_nobody_asked() -> None:
    assert make_runner().sample().action_parameters is None


def test_a_version_that_is_not_newer_is_skipped() -> None:
    runner = make_runner()
    graph = graph_of(CARTPOLE)
    runner.set_weights(replace(mlp_weights(graph, version=0), fingerprint="never looked at"))
    runner.set_weights(mlp_weights(graph, version=3))
    runner.set_weights(mlp_weights(graph, version=2))
    assert runner.version == 3
    assert runner.sample().policy_version.tolist() == [3]


def test_weights_of_another_module_are_refused() -> None:
    runner = make_runner()
    with pytest.raises(ValueError, match="weights version 1 fit module other"):
        runner.set_weights(replace(mlp_weights(graph_of(CARTPOLE), version=1), fingerprint="other"))
    assert runner.version == 0


def test_sampling_needs_weights() -> None:
    graph = graph_of(CARTPOLE)
    runner = EnvRunner(
        CARTPOLE,
        EnvRunnerSettings(),
        OnnxPolicy(graph),
        observation_space=graph.observation_space,
        action_heads=graph.action_heads,
        num_steps=2,
        seed=0,
    )
    with pytest.raises(RuntimeError, match="call set_weights before sample"):
        runner.sample()


def test_an_environment_that_shows_something_else_is_refused() -> None:
    graph = graph_of(CARTPOLE)
    with pytest.raises(ValueError, match="make the policy from this environment's spaces"):
        EnvRunner(
            EnvironmentSettings("MountainCar-v0"),
            EnvRunnerSettings(),
            OnnxPolicy(graph),
            observation_space=graph.observation_space,
            action_heads=graph.action_heads,
            num_steps=2,
            seed=0,
        )


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "Acrobot-v1"])
def test_a_resumed_runner_goes_on_bit_for_bit(env_id: str, mode: str) -> None:
    if mode == "vector_entry_point" and env_id != "CartPole-v1":
        pytest.skip("only CartPole has a vector implementation of its own")
    environment = EnvironmentSettings(env_id)
    runner, resumed = (make_runner(environment, seed, gym_env_vectorize_mode=mode) for seed in (1, 2))
    for _ in range(3):
        runner.sample()
    resumed.set_state(runner.get_state())
    resumed.set_weights(mlp_weights(graph_of(environment, mode)))
    for _ in range(3):
        assert_same_fragment(runner.sample(), resumed.sample())


def test_recurrent_state_is_resumed() -> None:
    runner, resumed = make_stateful_runner(), make_stateful_runner()
    runner.sample()
    resumed.set_state(runner.get_state())
    resumed.set_weights(scripted_weights(0))
    assert_same_fragment(runner.sample(), resumed.sample())


def test_a_reset_that_is_due_is_resumed() -> None:
    """Every episode ends with the fragment, so that all copies of this NEXT_STEP environment wait for it."""

    def native(num_envs: int) -> Any:
        one = functools.partial(StatefulScripted, ends=[(5, "truncated")])
        return gym.vector.SyncVectorEnv([one] * num_envs)

    runner, resumed = (make_stateful_runner(native, "vector_entry_point") for _ in range(2))
    runner.sample()
    resumed.set_state(runner.get_state())
    resumed.set_weights(scripted_weights(0))
    expected = runner.sample()
    assert expected.streams.lengths.tolist() == [4, 4, 4]
    assert_same_fragment(expected, resumed.sample())


class StatefulScripted(ScriptedEnvironment):
    """Scripted episodes that can be saved."""

    def get_state(self) -> Any:
        return {"observation": self._observation.copy(), "episode": self._episode, "first": self._first_end}

    def set_state(self, state: Any) -> None:
        self._observation[:] = state["observation"]
        self._episode, self._first_end = state["episode"], state["first"]


def make_stateful_runner(env: Any = StatefulScripted, mode: Any = "sync") -> EnvRunner:
    policy = ScriptedPolicy()
    observation_space, _ = spaces_of(EnvironmentSettings(env), mode)
    runner = EnvRunner(
        EnvironmentSettings(env),
        EnvRunnerSettings(num_envs_per_env_runner=3, gym_env_vectorize_mode=mode),
        policy,
        observation_space=observation_space,
        action_heads=policy.action_heads,
        num_steps=5,
        seed=0,
    )
    runner.set_weights(scripted_weights(0))
    return runner


def test_episodes_start_afresh_where_the_environment_cannot_be_saved(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runner, resumed = make_stateful_runner(ScriptedEnvironment), make_stateful_runner(ScriptedEnvironment)
    runner.sample()
    resumed.set_state(runner.get_state())
    resumed.set_weights(scripted_weights(0))
    with caplog.at_level(logging.WARNING, logger="outrider.envrunner"):
        fragment = resumed.sample()
    starts = np.cumsum(fragment.streams.lengths) - fragment.streams.lengths
    assert (fragment.observations[""][starts, 2] == 0).all()
    assert not np.array_equal(fragment.observations[""][starts, 0], make_first_seeds())
    assert "episodes start afresh" in caplog.text


def make_first_seeds() -> Any:
    """First column of what a run that never stopped saw first."""
    fragment = make_stateful_runner(ScriptedEnvironment).sample()
    return fragment.observations[""][np.cumsum(fragment.streams.lengths) - fragment.streams.lengths, 0]


SPACES = {
    "discrete observations": gym.spaces.Discrete(7, start=2),
    "nested": gym.spaces.Dict(
        {"a": gym.spaces.Box(0, 255, (2, 2, 1), np.uint8), "b": gym.spaces.Tuple([gym.spaces.MultiBinary(3)])}
    ),
}


class RandomEnvironment(gym.Env[Any, Any]):
    """Random observations and actions of any space; every fourth step truncates."""

    def __init__(self, observations: str) -> None:
        self.observation_space = SPACES[observations]
        self.action_space = gym.spaces.Dict(
            {"move": gym.spaces.Box(-1, 2, (2,)), "pick": gym.spaces.Discrete(3, start=1)}
        )
        self._num_steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self._num_steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        assert action in self.action_space
        self._num_steps += 1
        return self.observation_space.sample(), 1.0, False, self._num_steps == 4, {}


class ZeroPolicy:
    """Parameters zero for any observation."""

    state_spec: Any = {}  # noqa: RUF012

    def __init__(self, num_parameters: int) -> None:
        self._num_parameters = num_parameters

    def set_weights(self, weights: Any) -> None: ...

    def act(self, observations: Any, state: Any) -> Any:
        num_rows = len(next(iter(observations.values())))
        return np.zeros((num_rows, self._num_parameters), np.float32), {}


@pytest.mark.parametrize("observations", SPACES)
def test_every_space_is_recorded_leaf_by_leaf(observations: str) -> None:
    from outrider.wire import action_heads, leaf_dtype, leaves

    environment = EnvironmentSettings(RandomEnvironment, env_config={"observations": observations})
    observation_space, action_space = spaces_of(environment, EnvRunnerSettings().gym_env_vectorize_mode)
    heads = action_heads(action_space)
    runner = EnvRunner(
        environment,
        EnvRunnerSettings(num_envs_per_env_runner=3),
        ZeroPolicy(heads[-1].stop),
        observation_space=observation_space,
        action_heads=heads,
        num_steps=6,
        seed=0,
    )
    runner.set_weights(scripted_weights(0))
    fragment = runner.sample()
    assert_well_formed(fragment)
    assert {path: column.dtype for path, column in fragment.observations.items()} == {
        path: leaf_dtype(leaf) for path, leaf in leaves(observation_space).items()
    }
    assert sorted(fragment.actions) == ["/move", "/pick"]
