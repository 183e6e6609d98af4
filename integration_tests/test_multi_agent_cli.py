"""The command line with several agents: train, resume, evaluate, export, plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from outrider.algorithm import load_policy
from outrider.algorithm.commands.cli import main

SHORT = [
    *("--seed", "3", "--num-envs-per-env-runner", "2", "--train-batch-size-per-learner", "64"),
    *("--num-epochs", "1", "--stop-evaluation-return-mean", "none", "--evaluation-duration", "3"),
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def last_line(run: Path) -> dict[str, Any]:
    line: dict[str, Any] = json.loads((run / "progress.jsonl").read_text().splitlines()[-1])
    return line


def test_a_run_of_several_agents_from_its_beginning_to_a_policy_that_leaves(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "ppo", "--env", "CartPole-v1", "--num-agents", "2", "--policies", "per_agent"]
    assert (
        main([*train, *SHORT, "--policies-to-train", "0", "--stop-iterations", "2", "--run-dir", "run"]) == 0
    )
    assert "policies " in capsys.readouterr().out
    assert last_line(place / "run")["num_policies"] == 2
    assert main(["resume", "run", "--stop-iterations", "3"]) == 0
    assert last_line(place / "run")["iteration"] == 3
    capsys.readouterr()
    assert main(["evaluate", "run"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[3:]] == [
        ["policy", "0"],
        ["policy", "1"],
    ]
    assert main(["export", "run", "--policy", "1", "-o", "one.onnx"]) == 0
    observation = np.zeros((1, 4), np.float32)
    session = ort.InferenceSession("one.onnx")
    assert len(session.run(None, {session.get_inputs()[0].name: observation})) == 2
    assert main(["plot", "run", "-o", "curve.png"]) == 0
    (checkpoint,) = (place / "run" / "checkpoints").glob("*3")
    assert load_policy(checkpoint, "1").action_heads[0].sizes == (2,)


def test_the_only_policy_is_exported_whatever_its_name(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = ["train", "ppo", "--env", "CartPole-v1", "--num-agents", "2", "--policies", "red,blue"]
    assert main([*train, *SHORT, "--stop-iterations", "1"]) == 1
    assert "agent '0' has no policy: none of the 2 is named after it" in capsys.readouterr().err
    assert main([*train[:-1], "shared", *SHORT, "--stop-iterations", "1", "--run-dir", "run"]) == 0
    assert main(["export", "run"]) == 0
    assert (place / "policy.onnx").is_file()


def test_a_particle_environment_is_trained_with_a_central_critic(place: Path) -> None:
    train = ["train", "ppo", "--env", "mpe2.simple_spread_v3:parallel_env", "--policies", "shared"]
    assert main([*train, *SHORT, "--critic", "central", "--stop-iterations", "1", "--run-dir", "run"]) == 0
    assert last_line(place / "run")["num_agent_steps"] == 3 * 64


def test_a_run_is_named_after_what_it_trains(place: Path) -> None:
    train = ["train", "ppo", "--env", "mpe2.simple_spread_v3:parallel_env", "--policies", "per_agent"]
    assert main([*train, *SHORT, "--stop-iterations", "1"]) == 0
    (run,) = (place / "runs").iterdir()
    assert run.name.startswith("ppo-simple_spread_v3-")
