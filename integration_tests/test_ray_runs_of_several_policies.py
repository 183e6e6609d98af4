"""Runs of several policies, whose learners are on Ray, here, or first there and then here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compared_runs import assert_close, weights_by_policy
from outrider.algorithm import Algorithm, IMPALAConfig, PPOConfig

pytestmark = pytest.mark.usefixtures("local_ray")


def run(num_learners: int) -> PPOConfig:
    config = PPOConfig().environment("CartPole-v1").env_runners(num_envs_per_env_runner=1)
    config.learners(num_learners=num_learners, num_cpus_per_learner=1)
    config.rl_module(fcnet_hiddens=(8,)).debugging(seed=1)
    config.training(train_batch_size_per_learner=64 // max(1, num_learners), minibatch_size=32, num_epochs=1)
    return config.multi_agent(num_agents=3, policies="per_agent")


def test_a_run_has_the_same_policies_with_two_learners_and_goes_on_without_them(tmp_path: Path) -> None:
    found = []
    for num_learners in (0, 2):
        with run(num_learners).build() as algorithm:
            algorithm.train()
            algorithm.add_policy("copy", like="1")
            algorithm.set_matchups([(1.0, {"0": "0", "1": "copy", "2": "2"})])
            algorithm.freeze("0")
            algorithm.remove_policy("1")
            algorithm.train()
            assert algorithm.frozen == ("0",)
            metrics = algorithm.policy_metrics()
            assert np.isnan(metrics["policy_loss"]).tolist() == [True, False, False]
            found.append(weights_by_policy(algorithm))
            path = algorithm.save(tmp_path / str(num_learners))
    with Algorithm.from_checkpoint(path, config=run(0)) as algorithm:
        algorithm.train()
        resumed = weights_by_policy(algorithm)
    with Algorithm.from_checkpoint(tmp_path / "0") as algorithm:
        algorithm.train()
        assert_close(resumed, weights_by_policy(algorithm))
    assert_close(found[1], found[0])


@pytest.mark.parametrize("module", [{}, {"use_lstm": True, "lstm_cell_size": 4}])
def test_one_policy_of_all_agents_is_trained_by_both_learners_and_goes_on_without_them(
    module: dict[str, Any], tmp_path: Path
) -> None:
    found = []
    for num_learners in (0, 2):
        config = run(num_learners).multi_agent(num_agents=2, policies="shared")
        config.rl_module(fcnet_hiddens=(8,), **module).env_runners(num_envs_per_env_runner=2)
        config.training(train_batch_size_per_learner=64 // max(1, num_learners), minibatch_size=128)
        with config.build() as algorithm:
            for _ in range(2):
                algorithm.train()
            found.append((weights_by_policy(algorithm), algorithm.policy_metrics()["num_env_steps_trained"]))
            algorithm.save(tmp_path / str(num_learners))
            others = algorithm._loop.get_state()["learner"].get("other_ranks", [])
            assert len(others) == num_learners // 2  # the second learner has what is its own
    assert_close(found[1][0], found[0][0])
    assert found[1][1].tolist() == found[0][1].tolist()
    resumed = []
    for left, learners in (("0", 2), ("2", 0)):
        config.learners(num_learners=learners).training(train_batch_size_per_learner=64 // max(1, learners))
        with Algorithm.from_checkpoint(tmp_path / left, config=config) as algorithm:
            algorithm.train()
            resumed.append(weights_by_policy(algorithm))
    assert_close(resumed[1], resumed[0])


@pytest.mark.parametrize(("policies", "names"), [("per_agent", ["0", "1"]), ("shared", ["shared"])])
def test_runners_and_two_learners_train_several_policies_without_pause(
    policies: str, names: list[str]
) -> None:
    config = IMPALAConfig().environment("CartPole-v1").multi_agent(num_agents=2, policies=policies)
    config.env_runners(num_env_runners=1, num_envs_per_env_runner=2, rollout_fragment_length=8)
    config.learners(num_learners=2, num_cpus_per_learner=1).rl_module(fcnet_hiddens=(8,))
    config.training(train_batch_size_per_learner=8, min_time_s_per_iteration=0.0)
    with config.build() as algorithm:
        before = weights_by_policy(algorithm)
        algorithm.train()
        algorithm.add_policy("copy", like=names[0])
        algorithm.freeze(names[0])
        after = weights_by_policy(algorithm)
        metrics = algorithm.train()
        assert metrics["num_lost_rows"] == metrics["num_lost_updates"] == 0
        rested = weights_by_policy(algorithm)
    moved = {name: not np.array_equal(after[name], tensor) for name, tensor in before.items()}
    assert {name.partition("/")[0] for name, has_moved in moved.items() if has_moved} == set(names)
    for name in [name for name in rested if name.startswith(names[0])]:
        np.testing.assert_array_equal(rested[name], after[name], err_msg=name)
