"""Runs with several agents whose runners are actors on Ray: the same numbers, whatever policies come."""

from __future__ import annotations

import numpy as np
import pytest

from compared_runs import weights_by_policy
from outrider.algorithm import Algorithm, PPOConfig
from outrider.transport.ray_pieces import PolicyPieces, RayPolicies
from outrider.wire import Weights

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


def many(num_env_runners: int) -> PPOConfig:
    """Let two of eight policies play in each episode, of which a runner holds four."""
    made = config(num_env_runners).multi_agent(
        num_agents=2,
        policies=[str(number) for number in range(8)],
        policy_mapping_fn=lambda _, episode: str(episode.rng.integers(8)),
    )
    return made.env_runners(max_policies_per_env_runner=4) if num_env_runners else made


def change_policies(algorithm: Algorithm) -> None:
    """Train while policies come, stand still and change sides."""
    algorithm.train()
    algorithm.add_policy("before", like="1")
    algorithm.freeze("before")
    algorithm.set_matchups([(1.0, {"0": "0", "1": "before"}), (2.0, {"0": "0", "1": "1"})])
    algorithm.train()
    algorithm.set_policy_mapping_fn(lambda agent, episode: "before" if episode.number % 2 else agent)
    for _ in range(2):
        algorithm.train()


def assert_same(here: Algorithm, elsewhere: Algorithm) -> None:
    expected, found = weights_by_policy(here), weights_by_policy(elsewhere)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(tensor, found[name], name)


def test_a_runner_on_ray_gives_the_weights_of_one_here_also_where_policies_change() -> None:
    with config(0).build() as here, config(1).build() as elsewhere:
        for algorithm in (here, elsewhere):
            change_policies(algorithm)
        assert_same(here, elsewhere)


def test_a_runner_that_reads_the_policies_that_play_gives_the_weights_of_one_that_has_all() -> None:
    with many(0).build() as here, many(1).build() as elsewhere:
        for algorithm in (here, elsewhere):
            algorithm.freeze("3", "4")
            for _ in range(4):
                algorithm.train()
        assert_same(here, elsewhere)


def test_a_runner_reads_the_policies_that_play_where_ranks_on_ray_learn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put, versions = PolicyPieces.put, []

    def noted(self: PolicyPieces, weights: Weights) -> RayPolicies:
        versions.append(weights.version)
        return put(self, weights)

    monkeypatch.setattr(PolicyPieces, "put", noted)
    ranks = many(1).learners(num_learners=2, num_cpus_per_learner=0)
    with many(0).build() as here, ranks.training(train_batch_size_per_learner=32).build() as elsewhere:
        for algorithm in (here, elsewhere):
            for _ in range(2):
                algorithm.train()
        expected, found = weights_by_policy(here), weights_by_policy(elsewhere)
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name], tensor, atol=1e-5, err_msg=name)
    assert versions[:2] == [0, 1]
