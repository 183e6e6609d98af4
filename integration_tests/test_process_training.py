"""Whole runs whose runners are processes of this machine: the same numbers, without Ray, and faults."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from compared_runs import train_until, weights_after
from held_steps import Held, kill_in_a_step
from outrider.algorithm import Algorithm, APPOConfig, IMPALAConfig, PPOConfig
from outrider.algorithm.assembly import one_policy_assembly
from outrider.algorithm.assembly.runner_assembly import farm_plan
from outrider.envrunner import EnvironmentsFailedError, LocalRunnerPool

DEADLINE_S = 120.0


def small(config: Any, **env_runners: Any) -> Any:
    """Return the configuration with two processes and tiny batches, so that a test is over soon."""
    env_runners = {"num_env_runners": 2, "env_runner_backend": "process"} | env_runners
    return (
        config.environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=4, **env_runners)
        .training(train_batch_size_per_learner=256)
        .debugging(seed=5)
    )


def two_runners_here(blueprint: Any) -> LocalRunnerPool:
    plan, is_ahead = farm_plan(blueprint), blueprint.settings.env_runners.sample_ahead
    runners = [plan.make_runner(index - plan.first_runner, 0) for index in range(2)]
    return LocalRunnerPool(*runners, sample_ahead=is_ahead)


@pytest.mark.parametrize("ahead", [False, True])
def test_runners_in_processes_give_the_weights_of_runners_here(ahead: bool) -> None:
    elsewhere = weights_after(small(PPOConfig(), sample_ahead=ahead), 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_policy_assembly, "make_runners", two_runners_here)
        here = weights_after(small(PPOConfig(), sample_ahead=ahead), 10)
    for name, tensor in here.items():
        np.testing.assert_array_equal(tensor, elsewhere[name])


@pytest.mark.parametrize("config", [IMPALAConfig, APPOConfig])
def test_processes_sample_beside_the_learner_and_a_saved_run_goes_on(config: Any, tmp_path: Path) -> None:
    with small(config()).build() as algorithm:
        result = train_until(algorithm, lambda result: result.get("recent_return_mean", 0) > 50)
        algorithm.save(tmp_path / "checkpoint")
    with Algorithm.from_checkpoint(tmp_path / "checkpoint") as again:
        assert again.train()["num_env_steps"] > result["num_env_steps"]


def runner_processes(parent: int) -> list[int]:
    """Return the runners that a process has started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, of = (path / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if int(of) == parent and state != "Z" and b"runner_process" in command:
            found.append(int(path.name))
    return found


@pytest.mark.parametrize("config", [PPOConfig, IMPALAConfig])
def test_a_run_goes_on_when_a_process_is_killed_in_the_middle_of_a_fragment(
    config: Any, tmp_path: Path
) -> None:
    held = partial(Held, folder=tmp_path)
    with small(config()).environment(wrappers=(held,)).build() as algorithm:
        algorithm.train()
        killing = kill_in_a_step(tmp_path, of=2, num_killed=1)
        lost: list[int] = []  # a runner may be made anew an iteration after its rows are counted

        def is_made_anew(result: dict[str, Any]) -> bool:
            lost.append(result["num_lost_rows"])
            return bool(result["num_runner_restarts"] == 1)

        train_until(algorithm, is_made_anew)
        killing.join()
        assert sum(lost) > 0
        train_until(algorithm, lambda result: result["num_env_runners"] == 2)
    assert not runner_processes(os.getpid())


def test_an_environment_that_cannot_be_made_elsewhere_is_one_sentence() -> None:
    here = os.getpid()

    def only_here() -> gym.Env[Any, Any]:
        if os.getpid() != here:
            raise RuntimeError("no licence on this machine")
        return gym.make("CartPole-v1")

    with small(PPOConfig()).environment(only_here).build() as algorithm:
        with pytest.raises(EnvironmentsFailedError, match=r"only_here.*no licence on this machine") as raised:
            algorithm.train()
        assert "\n" not in str(raised.value)


def test_an_environment_that_only_this_script_has_registered_is_known_in_processes() -> None:
    gym.register("Here-v0", entry_point=lambda: gym.make("CartPole-v1").unwrapped, max_episode_steps=50)
    with small(PPOConfig(), num_env_runners=1).environment("Here-v0").build() as algorithm:
        assert algorithm.train()["num_env_steps"] == 256


WITHOUT_RAY = """
import sys
from outrider.algorithm import PPOConfig

if __name__ == "__main__":
    config = PPOConfig().environment("CartPole-v1").training(train_batch_size_per_learner=64)
    with config.env_runners(num_env_runners=1, env_runner_backend="process").build() as algorithm:
        algorithm.train()
    assert "ray" not in sys.modules
"""


def test_a_run_with_processes_imports_no_ray() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_RAY], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""


def test_a_killed_run_leaves_no_process(tmp_path: Path) -> None:
    arguments = ["--env", "CartPole-v1", "--num-env-runners", "2", "--env-runner-backend", "process"]
    command = [sys.executable, "-m", "outrider.algorithm", "train", "ppo", *arguments, "--run-dir", "run"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + DEADLINE_S
        while not (tmp_path / "run" / "progress.jsonl").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        runners = runner_processes(process.pid)
        assert len(runners) == 2
        process.kill()
    while any(Path(f"/proc/{runner}").exists() for runner in runners):
        assert time.monotonic() < deadline
        time.sleep(0.05)
