"""The command line as a user meets it: real processes, real environments, real files."""

from __future__ import annotations

import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from outrider.algorithm import Algorithm, PPOConfig, RunDirectory, TrainingRun, read_checkpoint
from outrider.algorithm.cli import main

PLAY_EXPORTED = Path(__file__).resolve().parents[1] / "examples" / "play_exported.py"
NUM_ITERATIONS = 12
SHORT = [
    *("--env", "CartPole-v1", "--seed", "3", "--num-envs-per-env-runner", "4"),
    *("--train-batch-size-per-learner", "512", "--num-epochs", "2"),
    *("--stop-evaluation-return-mean", "none", "--evaluation-duration", "5"),
]


def outrider(*arguments: object, cwd: Path, **keywords: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "outrider.algorithm", *map(str, arguments)]
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


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["trian"], 2, "there is no command 'trian'; did you mean train?"),
        (["train", "pop"], 2, "there is no algorithm 'pop'; did you mean ppo?"),
        (["train", "ppo"], 2, "which environment? give one, as in --env CartPole-v1"),
        (
            ["train", "ppo", "--env", "CartPole-v1", "--gama", "1"],
            2,
            "unknown flag --gama; did you mean --gamma",
        ),
        (["train", "ppo", "--env", "CartPole-v1", "--gamma", "2"], 2, "gamma is 2.0; give a finite number"),
        (["train", "ppo", "--env", "CartPole-v1", "--lr", "x"], 2, "--lr 'x' is not a number or"),
        (["train", "ppo", "--env", "CartPol-v1"], 1, "did you mean CartPole-v1"),
        (
            ["train", "impala", "--env", "CartPole-v1", "--num-env-runners", "-1"],
            2,
            "num_env_runners is -1; it must be a whole number >= 0",
        ),
        (
            ["train", "ppo", "--env", "CartPole-v1", "--rollout-fragment-length", "16"],
            1,
            "rollout_fragment_length=16 does not fit",
        ),
        (
            ["train", "ppo", "--env", "CartPole-v1", "--num-learners", "2"],
            1,
            "num_learners=2 is too many",
        ),
        (
            ["train", "ppo", "--env", "CartPole-v1", "--num-env-runners", "2", "--ray-address", "here"],
            2,
            "ray_address='here' is no address",
        ),
        (
            [
                "train",
                "ppo",
                "--env",
                "CartPole-v1",
                "--num-env-runners",
                "2",
                "--ray-address",
                "127.0.0.1:1",
            ],
            1,
            "nobody answers at ray_address='127.0.0.1:1'",
        ),
        (
            [
                *("train", "appo", "--env", "CartPole-v1", "--num-env-runners", "2"),
                *("--num-gpus-per-env-runner", "64"),
            ],
            1,
            "asked for 128 GPUs (2 env runners with num_gpus_per_env_runner=64)",
        ),
        (["train", "ppo", "--env", "test_train_cli_spaces:Text-v0"], 1, "no action distribution"),
        (["train", "ppo", "--env", "CartPole-v1", "--evaluation-seed", "-1"], 2, "evaluation seed -1 is out"),
        (
            ["train", "ppo", "--env", "test_train_cli_spaces:Broken-v0"],
            1,
            "first step: RuntimeError: no fuel",
        ),
        (["evaluate", "nowhere"], 1, "nowhere does not exist; give the directory of a checkpoint"),
        (["resume", "nowhere"], 1, "nowhere does not exist; give the directory of a run"),
        (["plot", "nowhere"], 1, "nowhere does not exist; give the directory of a run"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    arguments: list[str],
    code: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "test_train_cli_spaces.py").write_text(UNSUPPORTED)
    monkeypatch.syspath_prepend(modules)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    try:
        exit_code: object = main(arguments)
    except SystemExit as ended:
        exit_code = ended.code
    err = capsys.readouterr().err
    assert (exit_code, err.count("\n")) == (code, 1), err
    assert sentence in err
    assert not list(here.iterdir())


UNSUPPORTED = """
import gymnasium as gym

class Texts(gym.Env):
    observation_space = gym.spaces.Box(0, 1, (2,))
    action_space = gym.spaces.Text(5)

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, True, False, {}

class Broken(gym.Env):
    observation_space = gym.spaces.Box(0, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        raise RuntimeError("no fuel")

gym.register("Text-v0", Texts)
gym.register("Broken-v0", Broken)
"""


def test_a_policy_that_cannot_be_exported_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    (tmp_path / "test_train_cli_network.py").write_text(NOT_EXPORTABLE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    command = ["train", "ppo", *SHORT, "--network", "test_train_cli_network:Deciding"]
    assert main([*command, "--stop-iterations", "1", "--run-dir", "run"]) == 0
    assert "the policy acts through torch, which is slower: Deciding has no policy graph" in caplog.text
    assert main(["export", "run"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("outrider: Deciding has no policy graph: ")


NOT_EXPORTABLE = """
from torch import nn

class Deciding(nn.Module):
    def __init__(self, observation_space, action_space, num_action_parameters):
        super().__init__()
        self.policy, self.value = nn.Linear(4, num_action_parameters), nn.Linear(4, 1)

    def forward(self, observation):
        if float(observation.sum()) > 1e9:
            observation = -observation
        return self.policy(observation), self.value(observation).squeeze(-1)
"""


def test_a_run_that_fails_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: Any
) -> None:
    (tmp_path / "test_train_cli_fuel.py").write_text(OUT_OF_FUEL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    command = ["train", "ppo", "--env", "test_train_cli_fuel:make", "--train-batch-size-per-learner", "50"]
    command += ["--checkpoint-interval-s", "0", "--max-env-restarts", "0", "--run-dir", "run", "--plain"]
    assert main(command) == 1
    said = capsys.readouterr()
    assert "go on with  outrider resume run" in said.out
    assert "the last error was RuntimeError: no fuel" in said.err.splitlines()[-1]
    assert main(["evaluate", "run", "--num-episodes", "1"]) == 0
    assert "start afresh" not in caplog.text


OUT_OF_FUEL = """
import gymnasium as gym

class Tank(gym.Env):
    observation_space = gym.spaces.Box(0, 1, (2,))
    action_space = gym.spaces.Discrete(2)
    num_steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return self.observation_space.sample(), {}

    def step(self, action):
        Tank.num_steps += 1
        self.left -= 1
        if Tank.num_steps == 120:
            raise RuntimeError("no fuel")
        return self.observation_space.sample(), 1.0, self.left == 0, False, {}

def make():
    return Tank()
"""


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
    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))

    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["train", "ppo", *SHORT, "--stop-iterations", 1]
    code, _, err = finish(outrider(*command, cwd=tmp_path, preexec_fn=small_files, env=environment))
    assert code == 1
    assert err.count("\n") == 1, err
    assert "was not written: the disk is full; free some space or choose another place" in err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_asynchronous_snippet_of_the_scaling_guide_trains() -> None:
    config = (
        PPOConfig()
        # Use 10 sub-environments (vector) per EnvRunner.
        .env_runners(num_envs_per_env_runner=10)
    )
    config.env_runners(
        gym_env_vectorize_mode=gym.envs.registration.VectorizeMode.ASYNC,  # default is `SYNC`
    )
    config.environment("CartPole-v1").training(train_batch_size_per_learner=100)
    with config.build() as algorithm:
        assert algorithm.train()["num_env_steps"] == 100


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_sentence() -> None:
    config = PPOConfig().environment("CartPole-v1")
    config.learners(num_gpus_per_learner=1)
    with pytest.raises(ValueError, match=r"num_gpus_per_learner is 1, but torch .*; set it to 0 or install"):
        config.build()


def test_python_trains_saves_and_goes_on(tmp_path: Path) -> None:
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=10)
        .training(train_batch_size_per_learner=200, num_epochs=1)
        .evaluation(evaluation_duration=2)
        .debugging(seed=1)
    )
    with config.build() as algorithm:
        algorithm.train()
        algorithm.save(tmp_path / "checkpoint")
        expected = algorithm.train()
    with Algorithm.from_checkpoint(tmp_path / "checkpoint") as again:
        result = again.train()
        assert again.evaluate()["num_episodes"] == 2
    assert result["learner/policy_loss"] == expected["learner/policy_loss"]
    assert result["num_env_steps"] == 400


class Echo(gym.Env[Any, Any]):
    """Shows one of three numbers, and rewards the action that repeats it. One step, then the end."""

    observation_space = gym.spaces.Discrete(3)
    action_space = gym.spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._number = self.np_random.integers(3)
        return self._number, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._number, float(action == self._number), True, False, {}


def test_a_probe_environment_is_learned_perfectly(tmp_path: Path) -> None:
    config = (
        PPOConfig()
        .environment(Echo)
        .env_runners(num_envs_per_env_runner=16)
        .training(train_batch_size_per_learner=256, minibatch_size=64, lr=3e-3)
        .stopping(evaluation_return_mean=1.0, num_env_steps=20_000)
        .debugging(seed=0)
    )
    with config.build() as algorithm:
        outcome = TrainingRun(algorithm, RunDirectory.create(tmp_path / "run", {})).run()
    assert outcome.reason == "evaluated return 1 reached 1"


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
