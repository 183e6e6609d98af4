"""Policies that see pictures, and networks of the user's own, act as stacks without torch, on farms too."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from compared_runs import assert_same, weights_by_policy
from outrider.algorithm import Algorithm, PolicySpec, PPOConfig

SPOTS = "outrider.testing.spots:Spots"
ELSEWHERE: Any = {"num_env_runners": 1, "max_policies_per_env_runner": 6}


class Own(nn.Module):
    """A network of the user's own, with a convolution and a norm."""

    def __init__(self, observation_space: Any, action_space: Any, num_action_parameters: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = nn.LayerNorm(64)
        self.policy, self.value = nn.Linear(64, num_action_parameters), nn.Linear(64, 1)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.relu(self.convolution(picture.permute(0, 3, 1, 2) / 255.0))
        features = self.norm(features.flatten(1))
        return self.policy(features), self.value(features).squeeze(-1)


def config(**env_runners: Any) -> PPOConfig:
    """Let two agents' policies be of the catalogue and the third one's the user's."""
    own = PolicySpec(rl_module={"network": Own})
    return (
        PPOConfig()
        .environment(SPOTS)
        .env_runners(num_envs_per_env_runner=2, **env_runners)
        .training(train_batch_size_per_learner=24, minibatch_size=12, num_epochs=1)
        .debugging(seed=1)
        .multi_agent(num_agents=3, policies={"0": None, "1": None, "2": own})
    )


def trained(algorithm: Algorithm) -> dict[str, NDArray[Any]]:
    """Train while more policies play than runners hold, and while they come and go; return their weights."""
    algorithm.train()
    for name, like in (("a", "0"), ("b", "1"), ("c", "0"), ("own", "2"), ("own copy", "2")):
        algorithm.add_policy(name, like=like)
    algorithm.set_matchups(
        [
            (1.0, {"0": "0", "1": "a", "2": "2"}),
            (1.0, {"0": "b", "1": "1", "2": "own"}),
            (2.0, {"0": "c", "1": "a", "2": "own copy"}),
        ]
    )
    algorithm.train()
    algorithm.train()
    algorithm.set_matchups(
        [(1.0, {"0": "0", "1": "b", "2": "2"}), (2.0, {"0": "c", "1": "1", "2": "own copy"})]
    )
    algorithm.remove_policy("a")
    algorithm.remove_policy("own")
    algorithm.train()
    algorithm.train()
    return weights_by_policy(algorithm)


@contextmanager
def farm(caplog: pytest.LogCaptureFixture, folder: Path) -> Iterator[None]:
    """Start a farm as the newest run says, where importing torch fails."""
    said = [record.getMessage().partition("farms join with: ")[2] for record in caplog.records]
    flags = shlex.split([command for command in said if command][-1])[1:]
    (folder / "torch.py").write_text("raise ImportError('a farm has no torch')")
    search = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "outrider.envrunner.farm.farm_command", *flags]
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, env={**os.environ, "PYTHONPATH": search}))
        stack.callback(process.kill)
        yield


def test_stacks_of_pictures_and_own_networks_learn_the_same_here_in_processes_and_on_farms(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    with (
        config().build() as here,
        config(**ELSEWHERE, env_runner_backend="process").build() as process,
        config(**ELSEWHERE, listen="127.0.0.1:0").build() as on_a_farm,
        farm(caplog, tmp_path),
    ):
        expected = trained(here)
        assert_same(expected, trained(process))
        assert_same(expected, trained(on_a_farm))
    assert not [record for record in caplog.records if "torch" in record.getMessage()]
