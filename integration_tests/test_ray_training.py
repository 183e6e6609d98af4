"""Whole runs on a real Ray: the same numbers as in one process, and faults that no run may die of."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from compared_runs import train_until, weights, weights_after
from held_steps import Held, kill_in_a_step
from outrider.algorithm import Algorithm, APPOConfig, IMPALAConfig, PPOConfig
from outrider.algorithm.assembly import one_policy_assembly
from outrider.algorithm.assembly.runner_assembly import farm_plan
from outrider.envrunner import LocalRunnerPool

pytestmark = pytest.mark.usefixtures("local_ray")
DEADLINE_S = 120.0


def small(config: Any, *, runners: int = 0, learners: int = 0, **env_runners: Any) -> Any:
    """Return the configuration with tiny batches, so that a test is over soon."""
    return (
        config.environment("CartPole-v1")
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=4, **env_runners)
        .learners(num_learners=learners)
        .training(train_batch_size_per_learner=256)
        .debugging(seed=5)
    )


def largest_difference(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    assert one.keys() == other.keys()
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


# ---------------------------------------------------------------------------------------- same numbers


@pytest.mark.parametrize("ahead", [False, True])
def test_a_runner_on_ray_gives_the_weights_of_one_in_this_process(ahead: bool) -> None:
    local = weights_after(small(PPOConfig(), sample_ahead=ahead), 3)
    assert largest_difference(local, weights_after(small(PPOConfig(), runners=1, sample_ahead=ahead), 3)) == 0


def test_two_runners_on_ray_give_the_weights_of_two_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = weights_after(small(PPOConfig(), runners=2), 10)

    def two_runners_here(blueprint: Any) -> LocalRunnerPool:
        plan = farm_plan(blueprint)
        return LocalRunnerPool(*(plan.make_runner(index - plan.first_runner, 0) for index in range(2)))

    monkeypatch.setattr(one_policy_assembly, "make_runners", two_runners_here)
    assert largest_difference(weights_after(small(PPOConfig(), runners=2), 10), elsewhere) == 0


@pytest.mark.parametrize("config", [PPOConfig, APPOConfig])
def test_a_learner_on_ray_gives_the_weights_of_one_in_this_process(config: Any) -> None:
    local = weights_after(small(config()), 3)
    assert largest_difference(local, weights_after(small(config()), 3)) == 0
    assert largest_difference(local, weights_after(small(config(), learners=1), 3)) < 1e-6


def test_two_runners_and_two_learners_train_one_policy(tmp_path: Path) -> None:
    with small(PPOConfig(), runners=2, learners=2).build() as algorithm:
        before = weights(algorithm)
        result = algorithm.train()
        assert result["num_env_steps"] == 512
        assert largest_difference(before, weights(algorithm)) > 0
        algorithm.save(tmp_path / "checkpoint")
        algorithm.train()
        expected = weights(algorithm)
    with Algorithm.from_checkpoint(tmp_path / "checkpoint") as again:
        again.train()
        assert largest_difference(expected, weights(again)) == 0


# -------------------------------------------------------------------------------- side by side


@pytest.mark.parametrize(("config", "learners"), [(IMPALAConfig, 0), (APPOConfig, 1)])
def test_runners_and_learners_work_side_by_side_and_learn(config: Any, learners: int, tmp_path: Path) -> None:
    with small(config(), runners=2, learners=learners).build() as algorithm:
        result = train_until(algorithm, lambda result: result.get("recent_return_mean", 0) > 50)
        assert result["num_updates"] > 0
        assert result["staleness_max"] <= 20
        algorithm.save(tmp_path / "checkpoint")
        saved = weights(algorithm)
    with Algorithm.from_checkpoint(tmp_path / "checkpoint", to_train=False) as evaluated:
        assert evaluated.evaluate(3)["num_episodes"] == 3
    with Algorithm.from_checkpoint(tmp_path / "checkpoint") as again:
        assert largest_difference(weights(again), saved) < 1.0
        assert again.train()["num_env_steps"] > result["num_env_steps"]


# ---------------------------------------------------------------------------------------------- faults


def children(pid: int) -> dict[int, str]:
    """Return the command lines of all processes that descend from one."""
    parents, commands = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rpartition(")")[2].split()
            commands[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
        if stat[0] != "Z":
            parents[int(path.name)] = int(stat[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {child: commands[child] for child in found - {pid}}


def kill_one(actor: str) -> None:
    pids = [pid for pid, command in children(os.getpid()).items() if command.startswith(f"ray::{actor}")]
    os.kill(min(pids), signal.SIGKILL)


@pytest.mark.parametrize("config", [PPOConfig, IMPALAConfig])
def test_a_run_goes_on_when_a_runner_is_killed_in_the_middle_of_a_fragment(
    config: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    held = partial(Held, folder=tmp_path)
    with small(config(), runners=2).environment(wrappers=(held,)).build() as algorithm:
        algorithm.train()
        killing = kill_in_a_step(tmp_path, of=2, num_killed=1)
        lost = []  # a runner may be made anew an iteration after its rows are counted

        def is_made_anew(result: dict[str, Any]) -> bool:
            lost.append(result["num_lost_rows"])
            return bool(result["num_runner_restarts"] == 1)

        train_until(algorithm, is_made_anew)
        killing.join()
        assert sum(lost) > 0
        train_until(algorithm, lambda result: result["num_env_runners"] == 2)
    assert "(raylet)" not in capfd.readouterr().out


@pytest.mark.parametrize("config", [PPOConfig, APPOConfig])
def test_a_run_goes_on_when_a_learner_is_killed(config: Any) -> None:
    with small(config(), runners=1, learners=2).build() as algorithm:
        algorithm.train()
        kill_one("RankActor")
        result = train_until(algorithm, lambda result: result["num_learner_restarts"] == 1)
        assert result["num_lost_updates"] <= 10 + 2
        assert algorithm.train()["num_updates"] > result["num_updates"]


def test_an_environment_that_cannot_be_made_elsewhere_is_one_sentence() -> None:
    here = os.getpid()

    def only_here() -> gym.Env[Any, Any]:
        if os.getpid() != here:
            raise RuntimeError("no licence on this machine")
        return gym.make("CartPole-v1")

    with small(PPOConfig(), runners=2).environment(only_here).build() as algorithm:
        with pytest.raises(ValueError, match=r"only_here.*no licence on this machine") as raised:
            algorithm.train()
        assert "\n" not in str(raised.value)


def test_an_environment_that_only_this_script_has_registered_is_known_elsewhere() -> None:
    gym.register("Mine-v0", entry_point=lambda: gym.make("CartPole-v1").unwrapped, max_episode_steps=50)
    with small(PPOConfig(), runners=1).environment("Mine-v0").build() as algorithm:
        assert algorithm.train()["num_env_steps"] == 256


# ------------------------------------------------------------------------------------- the command line


RUN = ("--env", "CartPole-v1", "--num-env-runners", "2", "--num-envs-per-env-runner", "4", "--plain")
RUN = (*RUN, "--env-runner-backend", "ray")


def outrider(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "outrider.algorithm", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(processes: dict[int, str]) -> dict[int, str]:
    """Return those that still run. Two agents of Ray's own take a minute to notice a killed driver."""
    now = {pid for pid in processes if Path(f"/proc/{pid}").exists() and state(pid) != "Z"}
    return {pid: processes[pid] for pid in now if not processes[pid].endswith("Agent")}


def wait_until_dead(processes: dict[int, str], within_s: float = DEADLINE_S) -> None:
    deadline = time.monotonic() + within_s
    while left := alive(processes):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_killed_driver_leaves_no_process_and_its_run_is_resumed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ("train", "impala", *RUN, "--run-dir", "run", "--checkpoint-interval-s", "0")
    with outrider(*command, cwd=tmp_path) as process:
        wait_for(lambda: len(list(run.glob("checkpoints/iteration-*"))) == 2, process)
        processes = children(process.pid)
        assert any("RunnerActor" in command for command in processes.values())
        process.kill()
    wait_until_dead(processes)
    again = outrider("resume", "run", "--stop-num-env-steps", "1", "--plain", cwd=tmp_path)
    out, err = again.communicate(timeout=DEADLINE_S)
    assert again.returncode == 0, err
    assert "going on from  run/checkpoints/iteration-" in out


def test_ctrl_c_ends_a_run_on_ray_with_a_checkpoint_and_no_process_left(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = outrider("train", "appo", *RUN, "--num-learners", "1", "--run-dir", "run", cwd=tmp_path)
    wait_for((run / "progress.jsonl").exists, process)
    processes = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "go on with  outrider resume run" in out
    assert list(run.glob("checkpoints/iteration-*"))
    wait_until_dead(processes, within_s=5)  # Ray's workers see by themselves that their node is gone
    last = json.loads((run / "progress.jsonl").read_text().splitlines()[-1])
    assert last["num_env_runners"] == 2
