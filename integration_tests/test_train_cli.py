"""The command line as a user meets it: real processes, real environments, real files."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outrider.algorithm import read_checkpoint
from outrider.algorithm.commands.cli import main

PLAY_EXPORTED = Path(__file__).resolve().parents[1] / "examples" / "play_exported.py"
NUM_ITERATIONS = 12
SHORT = [
    *("--env", "CartPole-v1", "--seed", "3", "--num-envs-per-env-runner", "4"),
    *("--train-batch-size-per-learner", "512", "--num-epochs", "2"),
    *("--stop-evaluation-return-mean", "none", "--evaluation-duration", "5"),
]


def outrider_command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "outrider.algorithm", *map(str, arguments)]


def outrider(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    return started(outrider_command(*arguments), cwd=cwd)


def started(command: list[str], *, cwd: Path, **keywords: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **keywords
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "progress.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def uninterrupted(place: Path) -> Path:
    """Return a run that nothing disturbed."""
    command = ["train", "ppo", *SHORT, "--stop-iterations", NUM_ITERATIONS, "--run-dir", "uninterrupted"]
    code, out, err = finish(outrider(*command, cwd=place))
    assert code == 0, err
    for part in ("iteration    12", "stopped: 12 iterations done", "evaluated ", "checkpoint  ", "curve "):
        assert part in out
    return place / "uninterrupted"


def test_a_run_leaves_settings_progress_events_and_a_checkpoint(uninterrupted: Path) -> None:
    left = {path.name.partition(".out")[0] for path in uninterrupted.iterdir()}
    assert left == {"settings.json", "progress.jsonl", "events", "checkpoints"}
    settings = json.loads((uninterrupted / "settings.json").read_text())["settings"]
    assert settings["debugging"]["seed"] == 3
    assert [line["num_env_steps"] for line in lines(uninterrupted)] == [512 * n for n in range(1, 13)]
    assert [path.name for path in (uninterrupted / "checkpoints").iterdir()] == ["iteration-000012"]


def test_ctrl_c_and_resume_give_what_an_undisturbed_run_gives(place: Path, uninterrupted: Path) -> None:
    run = place / "interrupted"
    limit = ("--stop-num-env-steps", "none")
    process = outrider("train", "ppo", *SHORT, *limit, "--run-dir", run, cwd=place)
    while not (run / "progress.jsonl").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130
    assert "stopping after this iteration" in err
    assert f"go on with  outrider resume {run}" in out
    num_done = len(lines(run))
    assert num_done < NUM_ITERATIONS

    with (run / "progress.jsonl").open("a") as progress:
        progress.write(json.dumps({"iteration": num_done + 1, "from": "after the checkpoint"}) + "\n")
    code, out, err = finish(outrider("resume", run, "--stop-iterations", NUM_ITERATIONS, cwd=place))
    assert code == 0, err
    assert [line["iteration"] for line in lines(run)] == [*range(1, 13)]
    assert not any("from" in line for line in lines(run))
    newest = "checkpoints/iteration-000012"
    one, other = read_checkpoint(uninterrupted / newest), read_checkpoint(run / newest)
    for tree in (one, other):
        del tree["totals"]["time_s"], tree["settings"]["stopping"]
    assert differences(one, other) == []


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Return where two trees differ in a single bit."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in differences(one[key], other[key], f"{where}/{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for i, (a, b) in pairs for found in differences(a, b, f"{where}/{i}")]
    if isinstance(one, np.ndarray):
        same = one.dtype == other.dtype and one.tobytes() == other.tobytes()
    else:
        same = one == other
    return [] if same else [where]


def test_a_finished_run_says_that_it_is_finished(
    uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["resume", str(uninterrupted)]) == 0
    assert "is finished: 12 iterations done; raise that limit to go on" in capsys.readouterr().out
    assert len(lines(uninterrupted)) == NUM_ITERATIONS


def test_a_second_run_does_not_write_over_the_first(
    uninterrupted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "ppo", "--env", "CartPole-v1", "--run-dir", str(uninterrupted)]) == 1
    assert "holds a run already" in capsys.readouterr().err


def test_evaluate_prints_returns_and_films(
    uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "out.mp4"
    assert main(["evaluate", str(uninterrupted), "--num-episodes", "3", "--video", str(video)]) == 0
    out = capsys.readouterr().out
    assert "episodes  3" in out
    assert f"video     {video}" in out
    assert video.read_bytes()[4:8] == b"ftyp"


def test_plot_draws_several_runs(uninterrupted: Path, tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"
    other = tmp_path / "other"
    shutil.copytree(uninterrupted, other)
    assert main(["plot", str(uninterrupted), str(other), "-o", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(picture.read_bytes()) > 10_000


def test_an_exported_policy_plays_with_only_numpy_and_onnxruntime(
    uninterrupted: Path, tmp_path: Path
) -> None:
    assert main(["export", str(uninterrupted), "-o", str(tmp_path / "policy.onnx")]) == 0
    program = (
        f"import runpy, sys; runpy.run_path({str(PLAY_EXPORTED)!r})\n"
        "assert not {'torch', 'gymnasium', 'outrider'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", program]
    out = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert out.startswith("held the pole for ")


def test_an_unreadable_checkpoint_is_one_sentence(
    uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    arrays = run / "checkpoints" / "iteration-000012" / "arrays.npz"
    arrays.write_bytes(arrays.read_bytes()[:-100])
    for command in ("resume", "evaluate", "export"):
        assert main([command, str(run)]) == 1
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "arrays.npz is damaged (its checksum is wrong); use an older checkpoint" in err


@pytest.mark.parametrize("size_bytes", [1_000, 20_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, size_bytes: int) -> None:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    train = outrider_command("train", "ppo", *SHORT, "--stop-iterations", 1)
    limited = (
        f"import os, resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size_bytes}, {size_bytes})); "
        f"os.execv({sys.executable!r}, {train!r})"
    )
    code, _, err = finish(started([sys.executable, "-c", limited], cwd=tmp_path, env=environment))
    assert code == 1
    assert err.count("\n") == 1, err
    assert "was not written: the disk is full; free some space or choose another place" in err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_terminal_shows_the_live_view(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "outrider.algorithm", "train", "ppo", *SHORT, "--stop-iterations", "2"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(command, cwd=tmp_path, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux says EIO where the other end is closed
        while some := os.read(ours, 65536):
            shown += some
    os.close(ours)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    for part in (
        "ppo on CartPole-v1, seed 3",
        "environment steps/s",
        "policy loss",
        "stopped: 2 iterations done",
    ):
        assert part in text


def test_cartpole_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "ppo", "--env", "CartPole-v1", "--seed", "1", "--stop-num-env-steps", "150000"]
    assert main([*command, "--run-dir", "run"]) == 0
    last = lines(tmp_path / "run")[-1]
    assert last["evaluation/num_episodes"] == 100
    assert last["evaluation/episode_return_mean"] >= 475
