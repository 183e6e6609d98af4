"""Whole runs whose runners are on farms: the same numbers, faults that no run dies of, mistakes."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from compared_runs import assert_same, train_until, weights
from outrider.algorithm import Algorithm, APPOConfig, PPOConfig
from outrider.algorithm.assembly import one_policy_assembly
from outrider.algorithm.assembly.runner_assembly import farm_plan
from outrider.algorithm.commands.cli import main
from outrider.envrunner import LocalRunnerPool
from own_ports import free_port

DEADLINE_S = 120.0
LOCAL = "127.0.0.1:0"


def small(config: Any, **env_runners: Any) -> Any:
    """Return the configuration with two runners and tiny batches, so that a test is over soon."""
    env_runners = {"num_env_runners": 2, "min_runners": 2, "listen": LOCAL} | env_runners
    return (
        config.environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=4, **env_runners)
        .training(train_batch_size_per_learner=256)
        .debugging(seed=5)
    )


def farm_process(address: str, *arguments: str, num_runners: int = 2) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "outrider.envrunner.farm.farm_command", "--connect", address]
    command += ["--env", "CartPole-v1", "--runners", str(num_runners), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@contextmanager
def farm(address: str, *arguments: str, num_runners: int = 2) -> Iterator[subprocess.Popen[str]]:
    """Run a farm until the block is left."""
    with farm_process(address, *arguments, num_runners=num_runners) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


class Gateways(logging.Handler):
    """Knows where the last run listens, as its operator does: from what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.command: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        _, found, command = record.getMessage().partition("farms join with: ")
        if found:
            self.command = command.split()

    @property
    def address(self) -> str:
        return self.command[self.command.index("--connect") + 1]


@pytest.fixture(autouse=True)
def gateways() -> Iterator[Gateways]:
    handler, logger = Gateways(), logging.getLogger("outrider.algorithm")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def weights_after(algorithm: Algorithm, num_iterations: int) -> dict[str, np.ndarray]:
    for _ in range(num_iterations):
        algorithm.train()
    return weights(algorithm)


# ---------------------------------------------------------------------------------------- same numbers


@pytest.fixture(scope="module")
def local_weights() -> dict[str, np.ndarray]:
    """Return what ten updates with two runners in this process come to."""

    def two_runners(blueprint: Any) -> LocalRunnerPool:
        plan = farm_plan(blueprint)
        return LocalRunnerPool(plan.make_runner(0, 0), plan.make_runner(1, 0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_policy_assembly, "make_runners", two_runners)
        with small(PPOConfig()).build() as algorithm:
            return weights_after(algorithm, 10)


def test_runners_on_a_farm_give_the_weights_of_runners_in_this_process(
    local_weights: dict[str, np.ndarray], gateways: Gateways
) -> None:
    with small(PPOConfig()).build() as algorithm, farm(gateways.address):
        assert_same(local_weights, weights_after(algorithm, 10))


def test_a_runner_in_a_process_here_and_one_on_a_farm_give_the_same_weights(
    local_weights: dict[str, np.ndarray], gateways: Gateways
) -> None:
    config = small(PPOConfig(), num_farm_runners=1, env_runner_backend="process")
    with config.build() as algorithm, farm(gateways.address, num_runners=1):
        assert_same(local_weights, weights_after(algorithm, 10))


def test_an_environment_that_only_the_farm_has_gives_the_same_weights(
    local_weights: dict[str, np.ndarray], gateways: Gateways, tmp_path: Path
) -> None:
    env = gym.make("CartPole-v1")
    config = small(PPOConfig()).environment(
        None, observation_space=env.observation_space, action_space=env.action_space
    )
    with config.build() as algorithm:
        with farm(gateways.address):
            assert_same(local_weights, weights_after(algorithm, 10))
            algorithm.save(tmp_path / "checkpoint")
        assert algorithm.export_policy(tmp_path / "policy.onnx").exists()
    with Algorithm.from_checkpoint(tmp_path / "checkpoint", to_train=False) as restored:
        assert_same(local_weights, weights(restored))
        with pytest.raises(ValueError, match="there is no environment here, as env is None"):
            restored.evaluate(1)
    with_one = small(PPOConfig()).environment("CartPole-v1", observation_space=None, action_space=None)
    with Algorithm.from_checkpoint(tmp_path / "checkpoint", config=with_one, to_train=False) as restored:
        assert restored.evaluate(1)["num_episodes"] == 1


# -------------------------------------------------------------------------------- coming and going


@pytest.mark.parametrize("config", [PPOConfig, APPOConfig])
def test_a_farm_leaves_and_another_joins_in_the_middle(config: Any, gateways: Gateways) -> None:
    with small(config(), min_runners=1).build() as algorithm, farm(gateways.address) as first:
        result = train_until(algorithm, lambda result: result["num_farm_runners"] == 2)
        first.send_signal(signal.SIGTERM)
        with farm(gateways.address):
            result = train_until(algorithm, lambda result: result["num_joined"] == 4)
        assert (result["num_left"], result["num_runner_restarts"], result["num_lost_rows"]) == (2, 0, 0)
        assert first.wait(DEADLINE_S) == 0


def test_a_farm_reconnects_to_a_run_that_was_killed_and_resumed(tmp_path: Path) -> None:
    run, port = tmp_path / "run", free_port()
    arguments = ["--listen", f"127.0.0.1:{port}", "--num-env-runners", "2", "--num-envs-per-env-runner", "4"]
    arguments += ["--env", "CartPole-v1", "--plain", "--run-dir", "run", "--checkpoint-interval-s", "0"]
    arguments += ["--min-runners", "2"]
    with farm(f"127.0.0.1:{port}") as process:
        with outrider("train", "ppo", *arguments, cwd=tmp_path) as killed:
            wait_for(lambda: len(list(run.glob("checkpoints/iteration-*"))) == 2, killed)
            killed.kill()
        resumed = outrider("resume", "run", "--stop-iterations", "9", "--plain", cwd=tmp_path)
        _, err = resumed.communicate(timeout=DEADLINE_S)
        assert resumed.returncode == 0, err
        assert process.wait(DEADLINE_S) == 0
    last = json.loads((run / "progress.jsonl").read_text().splitlines()[-1])
    assert (last["iteration"], last["num_farm_runners"]) == (9, 2)


def outrider(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "outrider.algorithm", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, stdout=pipe, stderr=pipe, text=True)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("name", ["ppo", "appo"])
def test_a_run_on_a_farm_learns_to_balance_the_pole(name: str, tmp_path: Path) -> None:
    port = free_port()
    arguments = ["--listen", f"127.0.0.1:{port}", "--num-env-runners", "2", "--num-envs-per-env-runner", "8"]
    arguments += ["--env", "CartPole-v1", "--plain", "--run-dir", "run", "--seed", "1"]
    arguments += ["--stop-evaluation-return-mean", "450", "--evaluation-duration", "20"]
    with (
        outrider("train", name, *arguments, cwd=tmp_path) as training,
        farm(f"127.0.0.1:{port}"),
    ):
        out, err = training.communicate(timeout=DEADLINE_S)
    assert training.returncode == 0, err
    assert "reached 450" in out
    assert f"outrider-farm --connect 127.0.0.1:{port} --env CartPole-v1\n" in err


# ---------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "sentence", "code"),
    [
        (["--listen", "here"], "'here' is no address; give host:port", 1),
        (["--listen", "0.0.0.0:0"], "no TLS certificate is given; make one with `openssl", 1),
        (["--listen", LOCAL, "--token-file", "none-such"], "the token file none-such cannot be read", 1),
        (["--listen", LOCAL, "--tls-key", "key.pem"], "tls_certificate and tls_key belong together", 1),
        (["--listen", LOCAL, "--num-farm-runners", "3"], "num_farm_runners=3 is more than", 1),
        (["--listem", LOCAL], "unknown flag --listem; did you mean --listen", 2),
        (["--env-runner-backend", "thread"], "'thread' is not auto or ray or process", 2),
        (["--min-runners", "0"], "min_runners is 0; it must be a whole number >= 1", 2),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_starts(
    arguments: list[str],
    sentence: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OUTRIDER_TOKEN", raising=False)
    try:
        given = main(["train", "ppo", "--env", "CartPole-v1", "--num-env-runners", "2", *arguments])
    except SystemExit as ended:
        given = ended.code  # type: ignore[assignment]
    assert given == code
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_port_that_is_in_use_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = ["--env", "CartPole-v1", "--num-env-runners", "1", "--listen", listen]
        assert main(["train", "ppo", *arguments]) == 1
    err = capsys.readouterr().err
    assert listen in err
    assert err.count("\n") == 1
