"""Runners as processes of this machine: the suites for pools, and what stays behind of them: nothing."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from outrider.envrunner import AsyncRunnerFleet, EnvironmentSettings, RunnerFleet
from outrider.envrunner.farm.process_runners import ProcessRunners
from outrider.envrunner.fleet.remote_runners import Failed, Lost, Placed, Ready, RunnerEvent, Sampled
from outrider.testing.async_runner_pool_conformance import AsyncRunnerPoolConformance
from outrider.testing.runner_pool_conformance import (
    PoolSetup,
    RunnerPoolConformance,
    assert_same_fragments,
    local_pool,
    pool_setup,
    weights_of,
)
from outrider.transport import LocalWeights

DEADLINE_S = 60.0


def process_runners(setup: PoolSetup, *, num_runners: int = 2) -> ProcessRunners:
    return ProcessRunners(setup.plan, setup.settings, num_runners=num_runners)


def fleet_of(setup: PoolSetup, *, num_runners: int = 2) -> RunnerFleet:
    return RunnerFleet(
        process_runners(setup, num_runners=num_runners), setup.settings, num_steps=setup.num_steps
    )


IMPLIED = (
    "test_fragments_are_well_formed",
    "test_fragments_come_in_the_order_of_their_environments",
    "test_every_fragment_says_which_version_acted",
    "test_the_same_version_again_is_fine",
    "test_fragments_go_on_where_the_last_ones_ended",
    "test_the_same_seed_gives_the_same_fragments",
    "test_another_seed_gives_other_fragments",
    "test_a_pool_that_samples_ahead_lags_by_one_update",
)
"""What a local pool obeys, and so a fleet whose fragments are those of a local pool, bit for bit."""


class TestFleetOfProcesses(RunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> RunnerFleet:
        return fleet_of(setup, num_runners=1)


for implied in IMPLIED:
    setattr(TestFleetOfProcesses, implied, None)


class TestAsyncFleetOfProcesses(AsyncRunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> AsyncRunnerFleet:
        remote = process_runners(setup, num_runners=1)
        return AsyncRunnerFleet(remote, setup.settings, num_steps=setup.num_steps)


def weights(version: int) -> LocalWeights:
    return LocalWeights(weights_of(pool_setup(), version))


def started(runners: ProcessRunners) -> ProcessRunners:
    for index in range(runners.num_runners):
        runners.start(index, incarnation=0)
    num_ready = 0
    while num_ready < runners.num_runners:
        events = runners.events(DEADLINE_S)
        assert events
        assert {type(event) for event in events} <= {Placed, Ready}
        num_ready += sum(isinstance(event, Ready) for event in events)
    return runners


def next_event(runners: ProcessRunners) -> RunnerEvent:
    (event,) = [event for event in runners.events(DEADLINE_S) if not isinstance(event, Placed)] or [None]
    return event if event is not None else next_event(runners)


def pid_of(runners: ProcessRunners, index: int) -> int:
    return runners._runners[index].process.pid


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} within {DEADLINE_S:g} s"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def runners() -> Iterator[ProcessRunners]:
    with closing(started(process_runners(pool_setup()))) as runners:
        yield runners


def test_two_processes_sample_what_two_runners_here_sample() -> None:
    with closing(local_pool(pool_setup(), num_runners=2)) as local, closing(fleet_of(pool_setup())) as fleet:
        for version in range(5):
            expected = [fragment.load() for fragment in local.sample(weights(version))]
            assert_same_fragments(expected, [fragment.load() for fragment in fleet.sample(weights(version))])


def test_what_is_set_for_farms_changes_nothing_on_this_machine() -> None:
    setup = pool_setup()
    farms = replace(setup.settings, weights_dtype="bfloat16", max_runners_per_token=1, max_messages_per_s=0.1)
    remote = ProcessRunners(setup.plan, farms, num_runners=2)
    with (
        closing(local_pool(setup, num_runners=2)) as local,
        closing(RunnerFleet(remote, setup.settings, num_steps=setup.num_steps)) as fleet,
    ):
        expected = [fragment.load() for fragment in local.sample(weights(0))]
        assert_same_fragments(expected, [fragment.load() for fragment in fleet.sample(weights(0))])


def test_a_killed_process_is_lost_at_once_and_the_others_sample_on(runners: ProcessRunners) -> None:
    runners.ask(0, weights(0))
    assert isinstance(next_event(runners), Sampled)
    os.kill(pid_of(runners, 0), signal.SIGKILL)
    killed_at = time.monotonic()
    assert next_event(runners) == Lost(0, "its process was killed by signal 9")
    assert time.monotonic() - killed_at < 2.0
    runners.ask(1, weights(0))
    sampled = next_event(runners)
    assert isinstance(sampled, Sampled)
    assert sampled.index == 1
    runners.start(0, incarnation=1)
    assert isinstance(next_event(runners), Ready)
    runners.ask(0, weights(0))
    assert isinstance(next_event(runners), Sampled)


def test_the_socket_is_for_this_user_alone_and_goes_with_the_runners(runners: ProcessRunners) -> None:
    folder = runners._folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    pids = [pid_of(runners, index) for index in range(2)]
    runners.close()
    assert not folder.exists()
    assert not any(map(is_running, pids))


def test_a_runners_process_is_light_and_not_niced(runners: ProcessRunners) -> None:
    status = Path(f"/proc/{pid_of(runners, 0)}/status").read_text()
    # Its own memory. Of the libraries' files, which runners share, the kernel shows 37 to 59 MB of the same
    # versions as resident, by how they lie in the page cache.
    (own,) = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")]
    assert int(own) < 50_000  # kB, with its environments
    assert os.getpriority(os.PRIO_PROCESS, pid_of(runners, 0)) == os.getpriority(os.PRIO_PROCESS, 0)
    environ = Path(f"/proc/{pid_of(runners, 0)}/environ").read_bytes().split(b"\0")
    assert b"OMP_NUM_THREADS=1" in environ
    maps = Path(f"/proc/{pid_of(runners, 0)}/maps").read_text()
    assert "onnxruntime" in maps
    assert "torch" not in maps


def test_a_long_temporary_folder_leaves_room_for_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with closing(process_runners(pool_setup(), num_runners=1)) as runners:
        assert len(str(runners._folder)) < 80


def make_cart_pole(**config: Any) -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", **config)


def test_an_environment_may_be_a_callable() -> None:
    short = lambda **config: make_cart_pole(max_episode_steps=5, **config)  # noqa: E731 - not importable
    setup = replace(pool_setup(), environment=EnvironmentSettings(short))
    with closing(started(process_runners(setup, num_runners=1))) as runners:
        runners.ask(0, weights(0))
        sampled = next_event(runners)
        assert isinstance(sampled, Sampled)
        assert sampled.fragment.load().truncated.any()


def broken() -> gym.Env[Any, Any]:
    raise RuntimeError("no licence")


def test_an_environment_that_cannot_be_made_is_told_in_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    setup = replace(pool_setup(), environment=EnvironmentSettings(broken))
    with closing(process_runners(setup, num_runners=1)) as runners:
        runners.start(0, incarnation=0)
        event = next_event(runners)
        assert isinstance(event, Failed)
        assert "broken could not be made: RuntimeError: no licence" in str(event.error)
    assert "Traceback" not in capfd.readouterr().err


TRAINER = """
from integration_tests.test_process_runners import *
runners = started(process_runners(pool_setup()))
print(runners._folder, *(pid_of(runners, index) for index in range(2)), flush=True)
while True:
    for index in range(2):
        runners.ask(index, weights(0))
    runners.events(10)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_stays_when_the_trainer_dies(how: signal.Signals) -> None:
    root = Path(__file__).resolve().parents[1]
    trainer = subprocess.Popen(
        [sys.executable, "-c", TRAINER],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert trainer.stdout is not None
        folder, *pids = trainer.stdout.readline().split()
        assert Path(folder).is_dir()
        assert all(is_running(int(pid)) for pid in pids)
        died_at = time.monotonic()
        trainer.send_signal(how)
        trainer.wait(DEADLINE_S)
        wait_for(lambda: not any(is_running(int(pid)) for pid in pids), "all runners end")
        assert time.monotonic() - died_at < 10
        assert not Path(folder).exists()
    finally:
        trainer.kill()
        trainer.wait()
        trainer.stdout.close()  # type: ignore[union-attr]
