"""Real parts, as small as they can be: CartPole for several agents, a few rows, narrow networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from outrider.algorithm import (
    Algorithm,
    APPOConfig,
    CheckpointError,
    IMPALAConfig,
    PPOConfig,
    load_policy,
)
from outrider.algorithm.settings.multi_agent_settings import PolicySpec


def config(**multi_agent: Any) -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=2)
        .rl_module(fcnet_hiddens=(8,))
        .training(train_batch_size_per_learner=32, minibatch_size=16, num_epochs=2)
        .evaluation(evaluation_duration=3, evaluation_num_envs=2)
        .debugging(seed=1)
        .multi_agent(**{"num_agents": 3, "policies": "per_agent"} | multi_agent)
    )


TWO_STACKS = {"0": None, "1": PolicySpec(rl_module={"fcnet_hiddens": (4,)}), "2": None}


def weights(algorithm: Algorithm) -> dict[str, dict[str, NDArray[Any]]]:
    return {
        name: {key: tensor.numpy().copy() for key, tensor in policy.state_dict().items()}
        for name, policy in algorithm.policies.items()
    }


def are_equal(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_agents_are_trained_and_their_policies_reported() -> None:
    with config().build() as algorithm:
        before = weights(algorithm)
        for _ in range(3):
            result = algorithm.train()
        after = weights(algorithm)
        metrics = algorithm.policy_metrics()
    assert list(before) == ["0", "1", "2"]
    assert not any(are_equal(before[name], after[name]) for name in before)
    assert result["num_env_steps"] == 96
    assert 96 < result["num_agent_steps"] <= 288
    assert result["num_policies"] == 3
    assert metrics["entropy"].shape == metrics["episode_return_mean"].shape == (3,)


class Stateless:
    """Two agents, and a global state that breaks in the second of three steps, as some do at the end."""

    possible_agents = ("red", "blue")
    state_space = gym.spaces.Box(0, 9, (1,), np.float32)

    def observation_space(self, agent: str) -> gym.Space[Any]:
        return gym.spaces.Box(0, 9, (1,), np.float32)

    def action_space(self, agent: str) -> gym.Space[Any]:
        return gym.spaces.Discrete(2)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.time, self.agents = 0, list(self.possible_agents)
        return self._told(), {}

    def step(self, actions: Mapping[str, Any]) -> Any:
        self.time += 1
        is_over = dict.fromkeys(self.agents, self.time == 3)
        self.agents = [] if self.time == 3 else self.agents
        return self._told(), dict.fromkeys(actions, 1.0), is_over, dict.fromkeys(actions, False), {}

    def state(self) -> Any:
        assert self.time < 2, "nobody has to know"
        return np.zeros(1, np.float32)

    def close(self) -> None:
        pass

    def _told(self) -> Any:
        return {agent: np.full(1, self.time, np.float32) for agent in self.possible_agents}


def test_global_states_are_asked_for_only_by_central_critics_and_never_to_evaluate() -> None:
    duel = config(num_agents=None).environment(Stateless)
    with duel.build() as algorithm:
        assert algorithm.train()["num_env_restarts"] == 0
        assert algorithm.evaluate(num_episodes=2)["num_episodes"] == 2
    central = duel.multi_agent(policies="per_agent", critic="central").env_runners(max_env_restarts=0)
    with central.build() as algorithm:
        assert algorithm.evaluate(num_episodes=2)["num_episodes"] == 2
        with pytest.raises(RuntimeError, match="nobody has to know"):
            algorithm.train()


@pytest.mark.parametrize("module", [{}, {"use_lstm": True}, {"normalize_observations": True}])
def test_a_run_with_several_stacks_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(
    tmp_path: Path, module: dict[str, Any]
) -> None:
    # In a single copy, all agents of a stack may be out of the game when a fragment begins.
    alone = config(policies=TWO_STACKS).env_runners(num_envs_per_env_runner=1)
    with alone.rl_module(**module).build() as algorithm:
        for _ in range(4):
            algorithm.train()
        algorithm.save(tmp_path / "checkpoint")
        expected = [_lasting(algorithm.train()) for _ in range(2)]
        expected_weights = weights(algorithm)
    with Algorithm.from_checkpoint(tmp_path / "checkpoint") as resumed:
        assert [_lasting(resumed.train()) for _ in range(2)] == expected
        got = weights(resumed)
    assert all(are_equal(got[name], expected_weights[name]) for name in expected_weights)


def _lasting(result: Mapping[str, Any]) -> dict[str, str]:
    """Leave out what depends on the clock, and write the rest down: as a number, nan equals nothing."""
    clocked = ("_s", "_share", "bottleneck")
    return {name: repr(value) for name, value in result.items() if not name.endswith(clocked)}


def test_a_policy_starts_the_same_whatever_else_there_is() -> None:
    with config().build() as three, config(policies=["0", "1"], num_agents=2).build() as two:
        assert are_equal(weights(three)["1"], weights(two)["1"])


def test_one_policy_is_read_out_of_a_checkpoint_alone(tmp_path: Path) -> None:
    with config(policies=TWO_STACKS).build() as algorithm:
        algorithm.train()
        path = algorithm.save(tmp_path / "checkpoint")
        expected = weights(algorithm)
    for name in TWO_STACKS:
        policy = load_policy(path, name)
        assert are_equal({key: t.numpy() for key, t in policy.state_dict().items()}, expected[name])
    with pytest.raises(CheckpointError, match="there is no policy '4'; known are 0, 1, 2"):
        load_policy(path, "4")


def test_only_policies_to_train_learn_and_others_are_thawed_later() -> None:
    with config(policies_to_train=["1"]).build() as algorithm:
        before = weights(algorithm)
        algorithm.train()
        after = weights(algorithm)
        assert [are_equal(before[name], after[name]) for name in "012"] == [True, False, True]
        assert algorithm.frozen == ("0", "2")
        algorithm.freeze("1")
        algorithm.thaw("0")
        algorithm.train()
        assert [are_equal(after[name], weights(algorithm)[name]) for name in "012"] == [False, True, True]


def test_an_evaluation_says_what_each_policy_got_and_does_not_touch_training() -> None:
    with config().build() as algorithm, config().build() as other:
        result = algorithm.evaluate()
        assert algorithm.evaluate() == result
        total = sum(result[f"policies/{name}/episode_return_mean"] for name in "012")
        assert result["episode_return_mean"] == pytest.approx(total)
        assert _lasting(algorithm.train()) == _lasting(other.train())


def test_an_evaluation_that_explores_draws_from_its_seed_and_does_not_touch_training() -> None:
    with config().build() as algorithm, config().build() as other:
        result = algorithm.evaluate(explore=True)
        assert algorithm.evaluate(explore=True) == result
        assert result != algorithm.evaluate()
        assert _lasting(algorithm.train()) == _lasting(other.train())


def test_the_number_of_environments_does_not_change_an_evaluation() -> None:
    with config().build() as two, config().evaluation(evaluation_num_envs=1).build() as one:
        assert two.evaluate() == one.evaluate()


def test_a_checkpoint_of_several_policies_and_settings_of_one_do_not_fit(tmp_path: Path) -> None:
    one = PPOConfig().environment("CartPole-v1").rl_module(fcnet_hiddens=(8,))
    with one.build() as algorithm:
        algorithm.save(tmp_path / "one")
    with config().build() as algorithm:
        algorithm.save(tmp_path / "several")
    with pytest.raises(
        CheckpointError, match="several has policies by name, and these settings have one policy"
    ):
        Algorithm.from_checkpoint(tmp_path / "several", config=one)
    with pytest.raises(
        CheckpointError, match="one has one policy, without a name, and these settings have policies"
    ):
        Algorithm.from_checkpoint(tmp_path / "one", config=config())


def test_a_checkpoint_is_evaluated_without_runners(tmp_path: Path) -> None:
    with config().build() as algorithm:
        algorithm.train()
        path = algorithm.save(tmp_path / "checkpoint")
        expected = algorithm.evaluate()
    with Algorithm.from_checkpoint(path, to_train=False) as resting:
        assert resting.evaluate() == expected
        with pytest.raises(ValueError, match="to_train=True"):
            resting.train()
        with pytest.raises(ValueError, match="to_train=True"):
            resting.add_policy("new")


def test_a_policy_is_exported_by_name(tmp_path: Path) -> None:
    with config().build() as algorithm:
        assert algorithm.export_policy(tmp_path / "one.onnx", policy="1").stat().st_size
        with pytest.raises(
            ValueError, match=r"this run has 3 policies by name; .* algorithm.policies\['0'\]"
        ):
            algorithm.export_policy(tmp_path / "which.onnx")
        with pytest.raises(ValueError, match="there is no policy '7'"):
            algorithm.export_policy(tmp_path / "none.onnx", policy="7")


def test_a_film_of_several_agents_is_refused(tmp_path: Path) -> None:
    with config().build() as algorithm, pytest.raises(ValueError, match="cannot be filmed yet"):
        algorithm.record_video(tmp_path / "film.mp4")


def test_one_policy_has_no_name() -> None:
    with PPOConfig().environment("CartPole-v1").build() as algorithm:
        with pytest.raises(ValueError, match=r"this one has one: algorithm.policy"):
            algorithm.policies["0"]
        with pytest.raises(ValueError, match="add_policy is of runs with policies by name"):
            algorithm.add_policy("new")


@pytest.mark.parametrize("kind", [IMPALAConfig, APPOConfig])
@pytest.mark.parametrize("critic", ["own", "central"])
def test_other_algorithms_train_several_agents_too(
    kind: type[IMPALAConfig | APPOConfig], critic: Literal["own", "central"]
) -> None:
    few = (
        kind()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=2)
        .rl_module(fcnet_hiddens=(8,))
        .training(train_batch_size_per_learner=32)
        .debugging(seed=1)
        .multi_agent(num_agents=2, policies="per_agent", critic=critic)
    )
    with few.build() as algorithm:
        before = weights(algorithm)
        algorithm.train()
        algorithm.train()
        assert not any(are_equal(weights(algorithm)[name], before[name]) for name in before)


class OwnNetwork(torch.nn.Module):
    """A network of the user's: one layer."""

    def __init__(self, observation_space: Any, action_space: Any, num_action_parameters: int) -> None:
        super().__init__()
        self.both = torch.nn.Linear(4, num_action_parameters + 1)

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        both = self.both(observation)
        return both[..., :-1], both[..., -1]


def test_a_copy_of_a_policy_that_is_gone_is_read_with_its_network(tmp_path: Path) -> None:
    own = PolicySpec(rl_module={"network": OwnNetwork})
    plain = config(policies={"0": own, "1": None, "2": None}).rl_module(fcnet_hiddens=(64, 64))
    with plain.build() as algorithm:
        algorithm.add_policy("copy", like="0")
        algorithm.set_matchups([(1.0, dict.fromkeys("012", "1"))])
        algorithm.remove_policy("0")
        path = algorithm.save(tmp_path / "checkpoint")
        expected = weights(algorithm)["copy"]
    policy = load_policy(path, "copy")
    assert are_equal({key: t.numpy() for key, t in policy.state_dict().items()}, expected)


def test_networks_of_the_users_own_are_stacked_and_read_from_checkpoints(tmp_path: Path) -> None:
    with (
        config(policies=["0", "1", "2"])
        .rl_module(fcnet_hiddens=(64, 64), network=OwnNetwork)
        .build() as algorithm
    ):
        before = weights(algorithm)
        algorithm.train()
        assert not any(are_equal(weights(algorithm)[name], before[name]) for name in before)
        assert algorithm.evaluate()["num_episodes"] == 3
        path = algorithm.save(tmp_path / "checkpoint")
        expected = weights(algorithm)["1"]
    policy = load_policy(path, "1")
    assert are_equal({key: t.numpy() for key, t in policy.state_dict().items()}, expected)
