"""Runs with farms that are stopped before their end: how fast, and what farms do then."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from outrider.testing.command import Command
from own_ports import free_port

DEADLINE_S = 90.0


def outrider(*arguments: str) -> Command:
    return Command([sys.executable, "-m", "outrider.algorithm", *arguments])


def farm(address: str) -> Command:
    command = [sys.executable, "-m", "outrider.envrunner.farm.farm_command", "--connect", address]
    return Command([*command, "--env", "CartPole-v1", "--runners", "2"])


def train(name: str, path: Path, *arguments: str) -> Command:
    flags = ["--env", "CartPole-v1", "--num-env-runners", "2", "--min-runners", "2", "--plain"]
    return outrider("train", name, *flags, "--run-dir", str(path), *arguments)


@pytest.mark.parametrize(("name", "number"), [("ppo", signal.SIGTERM), ("appo", signal.SIGINT)])
def test_a_run_that_waits_for_farms_stops_at_once_when_it_is_told_to(
    name: str, number: signal.Signals, tmp_path: Path
) -> None:
    with train(name, tmp_path / "run", "--listen", "127.0.0.1:0") as training:
        training.wait_for("waiting for runners, 600 s at most", within_s=DEADLINE_S)
        told_at = time.monotonic()
        training.signal(number)
        assert training.wait(within_s=DEADLINE_S) == 128 + number
        assert time.monotonic() - told_at < 5  # 1 s where nothing else runs
        assert f"stopped: interrupted by {number.name}" in training.text
        assert "Traceback" not in training.text


def test_a_farm_waits_for_a_run_that_was_stopped_and_ends_with_the_one_that_comes_to_its_end(
    tmp_path: Path,
) -> None:
    run, address = tmp_path / "run", f"127.0.0.1:{free_port()}"
    with farm(address) as waiting:
        with train("ppo", run, "--listen", address, "--checkpoint-interval-s", "0") as stopped:
            stopped.wait_for(r"iteration +\d", within_s=DEADLINE_S)
            stopped.signal(signal.SIGTERM)
            assert stopped.wait(within_s=DEADLINE_S) == 143
        waiting.wait_for("the training run was stopped and may be resumed", within_s=DEADLINE_S)
        with outrider("resume", str(run), "--plain") as killed:
            killed.wait_for(r"iteration +\d", within_s=DEADLINE_S)
            killed.signal(signal.SIGKILL)
            killed.wait(within_s=DEADLINE_S)
        with outrider("resume", str(run), "--plain", "--stop-iterations", "8") as finished:
            assert finished.wait(within_s=DEADLINE_S) == 0, finished.text
        assert waiting.wait(within_s=DEADLINE_S) == 0
        assert "the training run is over" in waiting.text
