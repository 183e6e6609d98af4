"""Whole runs with several agents whose runners are on farms: the same numbers, other policies, faults."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from compared_runs import assert_same, change_policies, weights_by_policy
from outrider.algorithm import APPOConfig, PolicySpec, PPOConfig
from outrider.testing.duel import Duel

DEADLINE_S = 60.0
TWO_ARCHITECTURES = {"0": None, "1": PolicySpec(rl_module={"use_lstm": True}), "2": None}
DUEL = "outrider.testing.duel:Duel"
DUEL_CONFIG: Any = {"agents": ["blue", "green"], "state_size": 3}
REFUSED = 3


def config(algorithm_config: Any = PPOConfig, env: Any = "CartPole-v1", **env_runners: Any) -> Any:
    return (
        algorithm_config()
        .environment(env)
        .env_runners(num_envs_per_env_runner=2, **env_runners)
        .rl_module(fcnet_hiddens=(8,))
        .training(train_batch_size_per_learner=64)
        .debugging(seed=1)
    )


def three_agents(**env_runners: Any) -> PPOConfig:
    made: PPOConfig = config(**env_runners).training(minibatch_size=32, num_epochs=1)
    return made.multi_agent(num_agents=3, policies=TWO_ARCHITECTURES)


class Farms(logging.Handler):
    """Knows where the last run listens, as its operator does, and starts farms there."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__()
        self._stack = stack
        self.command: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        _, found, command = record.getMessage().partition("farms join with: ")
        if found:
            self.command = shlex.split(command)

    def start(self, *flags: str) -> subprocess.Popen[str]:
        """Do what the run says; flags that come again hold."""
        assert self.command[0] == "outrider-farm"
        command = [sys.executable, "-m", "outrider.envrunner.farm.farm_command", *self.command[1:], *flags]
        here = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **here},
        )
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return process


@pytest.fixture
def farms() -> Iterator[Farms]:
    with ExitStack() as stack:
        handler, logger = Farms(stack), logging.getLogger("outrider.algorithm")
        logger.addHandler(handler)
        yield handler
        logger.removeHandler(handler)


def test_a_runner_on_a_farm_gives_the_weights_of_one_here_also_where_policies_change(farms: Farms) -> None:
    with (
        three_agents().build() as here,
        three_agents(num_env_runners=1, listen="127.0.0.1:0").build() as there,
    ):
        farms.start()
        assert_same(change_policies(here), change_policies(there))


def test_runners_in_processes_and_on_farms_give_the_weights_of_those_in_processes_alone(farms: Farms) -> None:
    process: dict[str, Any] = {"num_env_runners": 2, "env_runner_backend": "process"}
    mixed = three_agents(**process, num_farm_runners=1, min_runners=2, listen="127.0.0.1:0")
    with three_agents(**process).build() as processes, mixed.build() as both:
        farms.start()
        assert_same(change_policies(processes), change_policies(both))


def test_agents_that_only_the_farm_has_play_as_here_with_its_own_mapping_and_a_critic_that_sees_all(
    farms: Farms,
) -> None:
    made = [
        config(**env_runners)
        .environment(**environment)
        .training(minibatch_size=32, num_epochs=1)
        .multi_agent(policies=["a", "b"], policy_mapping_fn=of_this_file, critic="central")
        for env_runners, environment in (
            ({}, {"env": DUEL, "env_config": DUEL_CONFIG}),
            ({"num_env_runners": 1, "listen": "127.0.0.1:0"}, described_duel()),
        )
    ]
    with made[0].build() as here, made[1].build() as there:
        assert farms.command[-2:] == ["--policy-mapping-fn", "MODULE:FUNCTION"]
        farms.command[-4:] = ["--env", DUEL, "--env-config", json.dumps(DUEL_CONFIG)]
        refused = farms.start()
        assert refused.wait(DEADLINE_S) == REFUSED
        assert refused.stdout is not None
        assert "start the farm with --policy-mapping-fn module:function" in refused.stdout.read()
        farms.start("--policy-mapping-fn", f"{__name__}:of_this_file")
        for algorithm in (here, there):
            algorithm.train()
            algorithm.train()
        assert_same(weights_by_policy(here), weights_by_policy(there))


def described_duel() -> dict[str, Any]:
    """Return the settings of a run whose environment only farms have."""
    env = Duel(**DUEL_CONFIG)
    return {
        "env": None,
        "observation_space": gym.spaces.Dict([(name, env.observation_space(name)) for name in env.agents]),
        "action_space": gym.spaces.Dict([(name, env.action_space(name)) for name in env.agents]),
        "state_space": env.state_space,
    }


def of_this_file(agent: str, episode: Any) -> str:
    return "ab"[(agent == "blue") ^ (episode.number % 2)]


def test_farms_come_and_go_while_policies_change_and_learn_without_pause(farms: Farms) -> None:
    busy = config(APPOConfig, num_env_runners=2, min_runners=1, listen="127.0.0.1:0")
    busy = busy.training(min_time_s_per_iteration=0.1).multi_agent(num_agents=3, policies="per_agent")
    with busy.build() as algorithm:
        first = farms.start()
        algorithm.train()
        algorithm.add_policy("copy", like="0")
        algorithm.freeze("copy")
        algorithm.set_matchups([(1.0, {"0": "0", "1": "copy", "2": "copy"})])
        farms.start("--name", "second")
        deadline = time.monotonic() + DEADLINE_S
        while algorithm.train()["num_farm_runners"] < 2:
            assert time.monotonic() < deadline
        first.kill()
        while (result := algorithm.train())["num_left"] < 1:
            assert time.monotonic() < deadline
        played = algorithm.policy_metrics()["num_episodes"][3]
        while algorithm.policy_metrics()["num_episodes"][3] == played:
            assert time.monotonic() < deadline
            algorithm.train()
        assert result["num_cut_off"] == 0
