"""Whole runs whose learners are a service: the same numbers, the service killed, mistakes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from outrider.algorithm import Algorithm, APPOConfig, IMPALAConfig, PPOConfig
from outrider.algorithm.cli import main

DEADLINE_S = 120.0


class Service:
    """An `outrider-learner`; its port is chosen by the system once, and kept."""

    def __init__(self) -> None:
        self.address = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "outrider.learner.learner_command", "--listen", self.address]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "listens at " in line:
                self.address = line.partition("listens at ")[2].partition(",")[0]
                return
        raise AssertionError(f"it ended with {self.process.wait()}")

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.communicate(timeout=DEADLINE_S)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.end(signal.SIGKILL)


def small(config: Any, **learners: Any) -> Any:
    """Return the configuration with tiny batches, so that a test is over soon."""
    return (
        config.environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=4)
        .learners(**learners)
        .training(train_batch_size_per_learner=256)
        .debugging(seed=5)
    )


def weights_after(config: Any, num_iterations: int) -> dict[str, np.ndarray]:
    with config.build() as algorithm:
        for _ in range(num_iterations):
            algorithm.train()
        return dict(algorithm.policy.weights(0).tensors)


def train_until(algorithm: Algorithm, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        result = algorithm.train()
        if reached(result):
            return result
    raise AssertionError(f"not reached within {DEADLINE_S} s: {result}")


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
        service.end(signal.SIGKILL)
        service.start()
        after = algorithm.train()
        assert after["num_learner_restarts"] == 1
        assert after["num_lost_updates"] <= 3
        assert after["num_env_steps"] == before["num_env_steps"] + 256


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
