"""Runs with several agents whose runners are actors on Ray: the same numbers, whatever policies come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from outrider.algorithm import Algorithm, PPOConfig

pytestmark = pytest.mark.usefixtures("local_ray")


def config(num_env_runners: int) -> PPOConfig:
    return (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(
            num_env_runners=num_env_runners,
            num_envs_per_env_runner=2,
            env_runner_backend="ray" if num_env_runners else "auto",
        )
        .rl_module(fcnet_hiddens=(8,))
        .training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=1)
        .debugging(seed=1)
        .multi_agent(num_agents=2, policies="per_agent")
    )


def weights_of(algorithm: Algorithm) -> dict[str, NDArray[Any]]:
    """Train while policies come, stand still and change sides; return their weights."""
    algorithm.train()
    algorithm.add_policy("before", like="1")
    algorithm.freeze("before")
    algorithm.set_matchups([(1.0, {"0": "0", "1": "before"}), (2.0, {"0": "0", "1": "1"})])
    algorithm.train()
    algorithm.set_policy_mapping_fn(lambda agent, episode: "before" if episode.number % 2 else agent)
    for _ in range(2):
        algorithm.train()
    return {
        f"{name}/{key}": tensor.numpy().copy()
        for name, policy in algorithm.policies.items()
        for key, tensor in policy.state_dict().items()
    }


def test_a_runner_on_ray_gives_the_weights_of_one_here_also_where_policies_change() -> None:
    with config(0).build() as here, config(1).build() as elsewhere:
        expected, found = weights_of(here), weights_of(elsewhere)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(tensor, found[name], name)
