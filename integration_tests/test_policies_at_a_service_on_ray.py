"""Several policies at a service whose learners are ranks on Ray, one of which is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from outrider.algorithm import Algorithm, APPOConfig

DEADLINE_S = 120.0


class Service:
    """An `outrider-learner` with two ranks on a Ray of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "outrider.learner.service.learner_command"]
        self.process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", "--num-learners", "2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "listens at " in line:
                self.address = line.partition("listens at ")[2].partition(",")[0]
                return
        raise AssertionError(f"it ended with {self.process.wait()}")

    def ranks(self) -> list[int]:
        """Return the processes of its ranks."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (folder / "cmdline").read_bytes().startswith(b"ray::RankActor"):
                    process = int(folder.name)
                    if parent(parent(process)) == self.process.pid:
                        found.append(process)
        return found

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    if made.process.poll() is None:
        os.killpg(made.process.pid, signal.SIGKILL)
        made.process.communicate(timeout=DEADLINE_S)


def train_until(algorithm: Algorithm, num_updates: int, num_restarts: int) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        result = algorithm.train()
        if result["num_updates"] >= num_updates and result["num_learner_restarts"] >= num_restarts:
            return result
    raise AssertionError(f"not reached within {DEADLINE_S} s: {result}")


def test_a_run_goes_on_where_a_rank_of_its_service_is_killed(service: Service) -> None:
    config = APPOConfig().environment("CartPole-v1").multi_agent(num_agents=2, policies="per_agent")
    config.env_runners(num_env_runners=1, num_envs_per_env_runner=2, env_runner_backend="process")
    config.learners(learner_address=service.address, num_cpus_per_learner=0, num_updates_between_snapshots=5)
    config.rl_module(fcnet_hiddens=(8,)).training(train_batch_size_per_learner=32, min_time_s_per_iteration=0)
    with config.build() as algorithm:
        before = train_until(algorithm, 5, 0)
        os.kill(max(service.ranks()), signal.SIGKILL)
        after = train_until(algorithm, before["num_updates"] + 10, 1)
        assert after["num_learner_restarts"] == 1
        assert after["num_policies"] == 2
        assert len(service.ranks()) == 2
    assert service.stop() == 0
