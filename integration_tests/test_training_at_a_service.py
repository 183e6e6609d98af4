"""Whole runs whose learners are a service: the same numbers, the service killed, mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from compared_runs import train_until, weights_after
from learner_process import Service, running
from outrider.algorithm import Algorithm, APPOConfig, IMPALAConfig, PolicySpec, PPOConfig
from outrider.algorithm.commands.cli import main

DEADLINE_S = 120.0


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running() as made:
        yield made


def small(config: Any, **learners: Any) -> Any:
    """Return the configuration with tiny batches, so that a test is over soon."""
    return (
        config.environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=4)
        .learners(**learners)
        .training(train_batch_size_per_learner=256)
        .debugging(seed=5)
    )


@pytest.mark.parametrize("config", [PPOConfig, IMPALAConfig])
def test_a_service_gives_the_weights_of_a_learner_in_this_process(config: Any, service: Service) -> None:
    here = weights_after(small(config()), 5)
    there = weights_after(small(config(), learner_address=service.address), 5)
    for name, tensor in here.items():
        np.testing.assert_allclose(tensor, there[name], atol=1e-6)


def test_processes_sample_and_a_service_learns_side_by_side(service: Service) -> None:
    config = small(APPOConfig(), learner_address=service.address)
    config.env_runners(num_env_runners=2, env_runner_backend="process")
    with config.build() as algorithm:
        result = train_until(algorithm, lambda result: result.get("recent_return_mean", 0) > 50)
    assert result["num_updates"] > 0


def test_a_run_goes_on_when_its_service_is_killed_and_comes_back(service: Service) -> None:
    config = small(PPOConfig(), learner_address=service.address, num_updates_between_snapshots=2)
    with config.build() as algorithm:
        for _ in range(5):
            before = algorithm.train()
        service.kill()
        service.start()
        after = algorithm.train()
        assert after["num_learner_restarts"] == 1
        assert after["num_lost_updates"] <= 3
        assert after["num_env_steps"] == before["num_env_steps"] + 256


def several(config: Any, **learners: Any) -> Any:
    """Return a configuration of three agents: two policies in a stack, and a recurrent one alone."""
    policies = {"0": None, "1": PolicySpec(rl_module={"use_lstm": True, "lstm_cell_size": 8}), "2": None}
    small(config, **learners).training(train_batch_size_per_learner=64).rl_module(fcnet_hiddens=(8,))
    return config.multi_agent(num_agents=3, policies=policies)


def change_policies(algorithm: Algorithm) -> None:
    """Train while policies come, go and stand still."""
    algorithm.train()
    for name in ("0", "1"):
        algorithm.add_policy(f"copy of {name}", like=name)
        algorithm.freeze(f"copy of {name}")
    algorithm.set_matchups([(1.0, {"0": "0", "1": "copy of 0", "2": "copy of 1"})])
    algorithm.train()
    algorithm.remove_policy("2")


def weights_of_all(algorithm: Algorithm) -> dict[str, np.ndarray]:
    return {
        f"{name}/{key}": tensor.numpy().copy()
        for name, policy in algorithm.policies.items()
        for key, tensor in policy.state_dict().items()
    }


def assert_close(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        np.testing.assert_allclose(tensor, right[name], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("config", [PPOConfig, IMPALAConfig])
def test_a_service_gives_several_policies_the_weights_that_they_get_here(
    config: Any, service: Service
) -> None:
    reached = []
    for learners in ({}, {"learner_address": service.address}):
        with several(config(), **learners).build() as algorithm:
            change_policies(algorithm)
            algorithm.train()
            reached.append((weights_of_all(algorithm), algorithm.frozen))
    assert reached[0][1] == reached[1][1] == ("copy of 0", "copy of 1")
    assert_close(reached[0][0], reached[1][0])


def test_policies_that_came_and_went_are_as_they_were_when_their_service_is_killed(service: Service) -> None:
    config = several(PPOConfig(), learner_address=service.address, num_updates_between_snapshots=100)
    with config.build() as algorithm:
        change_policies(algorithm)
        before = weights_of_all(algorithm)
        service.kill()
        service.start()
        result = algorithm.train()
        after = weights_of_all(algorithm)
        assert algorithm.frozen == ("copy of 0", "copy of 1")
    assert before.keys() == after.keys()
    assert_close(*[{k: v for k, v in each.items() if k.startswith("copy")} for each in (before, after)])
    assert (result["num_learner_restarts"], result["num_lost_updates"]) == (1, 2)


def test_policies_come_and_go_while_processes_sample_and_a_service_learns(service: Service) -> None:
    config = several(APPOConfig(), learner_address=service.address)
    config.env_runners(num_env_runners=2, env_runner_backend="process").training(min_time_s_per_iteration=0.2)
    with config.build() as algorithm:
        for _ in range(2):
            change_policies(algorithm)
            algorithm.add_policy("2", like="0")
            algorithm.set_matchups([(1.0, {"0": "0", "1": "1", "2": "2"})])
            for name in ("0", "1"):
                algorithm.remove_policy(f"copy of {name}")
        result = train_until(algorithm, lambda result: result["num_updates"] > 20)
    assert result["num_policies"] == 3


def test_several_policies_are_saved_at_a_service_and_go_on_exactly(service: Service, tmp_path: Any) -> None:
    with several(PPOConfig(), learner_address=service.address).build() as algorithm:
        change_policies(algorithm)
        algorithm.save(tmp_path / "checkpoint")
        algorithm.train()
        expected = weights_of_all(algorithm)
    with Algorithm.from_checkpoint(tmp_path / "checkpoint") as again:
        again.train()
        assert_close(weights_of_all(again), expected)


@contextmanager
def saved_at_a_service(service: Service, path: Any) -> Iterator[Algorithm]:
    with small(PPOConfig(), learner_address=service.address).build() as algorithm:
        algorithm.train()
        algorithm.save(path)
        yield algorithm


def test_a_run_at_a_service_is_saved_and_goes_on_exactly(service: Service, tmp_path: Any) -> None:
    with saved_at_a_service(service, tmp_path / "checkpoint") as algorithm:
        algorithm.train()
        expected = dict(algorithm.policy.weights(0).tensors)
    with Algorithm.from_checkpoint(tmp_path / "checkpoint") as again:
        again.train()
        for name, tensor in dict(again.policy.weights(0).tensors).items():
            np.testing.assert_array_equal(tensor, expected[name])


def test_a_service_that_is_not_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    address = "127.0.0.1:1"
    arguments = ["--env", "CartPole-v1", "--learner-address", address, "--learner-start-timeout-s", "1"]
    assert main(["train", "ppo", *arguments]) == 1
    err = capsys.readouterr().err
    assert address in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
