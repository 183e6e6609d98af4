"""A user's mistake on the command line ends in one sentence, and a run that fails says how to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from outrider.algorithm import PPOConfig
from outrider.algorithm.commands.cli import main


@pytest.mark.usefixtures("no_ray")  # a run joins a Ray that is there, wherever it was told to look
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
        (["train", "ppo", "--env", "test_train_mistakes_spaces:Text-v0"], 1, "no action distribution"),
        (["train", "ppo", "--env", "CartPole-v1", "--evaluation-seed", "-1"], 2, "evaluation seed -1 is out"),
        (
            ["train", "ppo", "--env", "test_train_mistakes_spaces:Broken-v0"],
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
    (modules / "test_train_mistakes_spaces.py").write_text(UNSUPPORTED)
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
    (tmp_path / "test_train_mistakes_network.py").write_text(NOT_EXPORTABLE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    command = ["train", "ppo", "--env", "CartPole-v1", "--network", "test_train_mistakes_network:Deciding"]
    short = ["--train-batch-size-per-learner", "512", "--num-epochs", "1", "--evaluation-duration", "1"]
    assert main([*command, *short, "--stop-iterations", "1", "--run-dir", "run"]) == 0
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
    (tmp_path / "test_train_mistakes_fuel.py").write_text(OUT_OF_FUEL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    command = [
        "train",
        "ppo",
        "--env",
        "test_train_mistakes_fuel:make",
        "--train-batch-size-per-learner",
        "50",
    ]
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_sentence() -> None:
    config = PPOConfig().environment("CartPole-v1")
    config.learners(num_gpus_per_learner=1)
    with pytest.raises(ValueError, match=r"num_gpus_per_learner is 1, but torch .*; set it to 0 or install"):
        config.build()
