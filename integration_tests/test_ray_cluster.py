"""Joining a cluster, starting one, reserving in it, and saying what it lacks."""

from __future__ import annotations

import logging
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster as RayCluster
from ray.util import get_current_placement_group, placement_group_table

from outrider.algorithm.cluster import ray_cluster, ray_session
from outrider.algorithm.cluster.demand import Demand, demand_of
from outrider.algorithm.cluster.placement import Node
from outrider.algorithm.cluster.ray_cluster import connect
from outrider.algorithm.settings.resource_settings import ResourceSettings
from outrider.envrunner import EnvRunnerSettings
from outrider.learner import LearnerGroupSettings

WITHIN_S = 5.0
"""In which what a cluster lacks is said."""


@pytest.fixture(scope="module")
def head(no_ray: None) -> Iterator[str]:
    cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 2, "resources": {"simulator": 1}})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def at(head: str) -> Iterator[ResourceSettings]:
    yield ResourceSettings(ray_address=head)
    assert not ray.is_initialized(), "a test has left its connection open"


def demand(num: int, num_learners: int = 0, **asked: object) -> Demand:
    runners = EnvRunnerSettings(num_env_runners=num, **asked)  # type: ignore[arg-type]
    return demand_of(runners, LearnerGroupSettings(), num_learners=num_learners)


@ray.remote
class Process:
    def is_in_placement_group(self) -> bool:
        return get_current_placement_group() is not None


def test_processes_run_where_the_run_has_reserved(at: ResourceSettings) -> None:
    with connect(at, demand(1, num_learners=1)) as cluster:
        assert ray.available_resources().get("CPU", 0.0) == 0.0
        actors = [
            Process.options(**options).remote()
            for options in (cluster.runner_options(0), cluster.learner_options(0))
        ]
        assert all(ray.get([actor.is_in_placement_group.remote() for actor in actors], timeout=30))
    assert not ray.is_initialized()


def test_the_environment_variable_names_the_cluster(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", head)
    with connect(ResourceSettings(), demand(1, custom_resources_per_env_runner={"simulator": 1})):
        assert ray.get_runtime_context().gcs_address == head


def test_a_connection_that_was_there_is_used_and_left_alone(head: str) -> None:
    ray.init(address=head, log_to_driver=False)
    try:
        connect(ResourceSettings(), demand(2)).close()
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_an_address_of_the_connection_that_was_there_is_the_same_by_any_name(head: str) -> None:
    ray.init(address=head, log_to_driver=False)
    try:
        for address in (head, "auto", f"localhost:{head.rpartition(':')[2]}"):
            connect(ResourceSettings(ray_address=address), demand(1)).close()
    finally:
        ray.shutdown()


def test_another_cluster_than_that_of_the_connection_is_refused(head: str) -> None:
    other = RayCluster(initialize_head=True, head_node_args={"num_cpus": 1})
    ray.init(address=head, log_to_driver=False)
    try:
        for address in (other.address, "local"):
            with pytest.raises(
                ValueError, match=f"ray_address='{address}' is not .* connected to, which is {head}, .* leave"
            ):
                connect(ResourceSettings(ray_address=address), demand(1))
        assert ray.is_initialized()
    finally:
        ray.shutdown()
        other.shutdown()


def test_what_the_cluster_does_not_have_is_said_at_once(at: ResourceSettings) -> None:
    started = time.monotonic()
    with pytest.raises(
        ValueError, match=r"asked for 2 GPUs .*, the cluster has 0; set num_gpus_per_env_runner=0"
    ):
        connect(at, demand(2, num_gpus_per_env_runner=1))
    assert time.monotonic() - started < WITHIN_S


def test_what_has_just_ended_is_not_lacking(at: ResourceSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [[Node(total={"CPU": 2.0}, available={})]]
    nodes = ray_cluster._nodes
    monkeypatch.setattr(ray_cluster, "_nodes", lambda: looks.pop() if looks else nodes())
    connect(at, demand(2)).close()
    assert not looks


def test_what_others_use_is_said_at_once_and_given_back_at_close(at: ResourceSettings) -> None:
    first = connect(at, demand(2))
    with pytest.raises(ValueError, match="the cluster has 2 and others use 2 of them; wait for them"):
        connect(at, demand(1))
    first.close()
    first.close()
    connect(at, demand(2)).close()


def test_a_run_waits_for_what_another_gives_back(
    at: ResourceSettings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ray_cluster, "SAY_S", 0.2)
    other = connect(
        replace(at, wait_for_resources_s=30), demand(2)
    )  # what the test before had may be taken yet

    def end_the_other_once_it_is_waited_for() -> None:
        deadline = time.monotonic() + 50
        while "waiting up to" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.05)
        other.close()

    ending = threading.Thread(target=end_the_other_once_it_is_waited_for)
    ending.start()
    waiting = ResourceSettings(ray_address=at.ray_address, wait_for_resources_s=60)
    with caplog.at_level(logging.WARNING):
        connect(waiting, demand(1)).close()
    ending.join()
    assert re.search(r"waiting up to \d\d s more: asked for 1 CPU \(1 env runner with", caplog.text)


def test_waiting_ends_in_a_sentence_and_takes_nothing(at: ResourceSettings) -> None:
    with connect(replace(at, wait_for_resources_s=30), demand(2)):
        waiting = ResourceSettings(wait_for_resources_s=0.5)
        with pytest.raises(ValueError, match=r"others use 2 of them; .* \(waited \d+ s\)"):
            connect(waiting, demand(1))
        states = [group["state"] for group in placement_group_table().values()]
        assert states.count("CREATED") == 1
        assert "PENDING" not in states


def test_a_cluster_of_another_ray_is_refused(at: ResourceSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_session, "version", lambda _: "2.59.1")
    with pytest.raises(ValueError, match=rf"runs Ray {ray.__version__} and this process Ray 2.59.1"):
        connect(at, demand(1))


@pytest.mark.parametrize("installed", ["2.49.2", "3.0.0"])
def test_a_ray_outside_the_range_is_refused(installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_session, "version", lambda _: installed)
    with pytest.raises(
        ValueError, match=rf"Ray {installed} is installed, and Outrider works with .* 2.50 on"
    ):
        connect(ResourceSettings(), demand(1))


def test_a_ray_that_is_not_installed_is_said_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise ray_session.PackageNotFoundError(name)

    monkeypatch.setattr(ray_session, "version", missing)
    with pytest.raises(
        ValueError, match="not installed; install outrider's extra ray: pip install 'outrider\\[ray\\]'"
    ):
        connect(ResourceSettings(), demand(1))


def test_an_address_where_nobody_listens_is_said_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ValueError, match=f"nobody answers at ray_address='{address}'"):
            connect(ResourceSettings(ray_address=address), demand(1))


def test_a_listener_of_another_kind_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        web = threading.Thread(target=answer)
        web.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ValueError, match="does not answer as the head node of Ray does"):
            connect(ResourceSettings(ray_address=address), demand(1))
        assert time.monotonic() - began < ray_session.ANSWER_S / 2
        web.join()


def test_a_listener_that_is_not_ray_ends_the_command_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        done = outrider_train(
            "--num-env-runners", "1", "--ray-address", address, "--ray-start-timeout-s", "2"
        )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "does not answer as the head node of Ray does" in done.stderr


def outrider_train(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "outrider.algorithm", "train", "ppo", "--env", "CartPole-v1", *flags],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


START_AND_WAIT = """
import os
import time
import ray
from outrider.algorithm.cluster.demand import demand_of
from outrider.algorithm.cluster.placement import Node
from outrider.algorithm.cluster.ray_cluster import connect
from outrider.algorithm.settings.resource_settings import ResourceSettings
from outrider.envrunner import EnvRunnerSettings
from outrider.learner import LearnerGroupSettings

runners = EnvRunnerSettings(num_env_runners=2)
cluster = connect(ResourceSettings(), demand_of(runners, LearnerGroupSettings(), num_learners=0))

@ray.remote
class Runner:
    def nice(self):
        return os.nice(0)

actors = [Runner.options(**cluster.runner_options(index)).remote() for index in range(2)]
assert ray.get([actor.nice.remote() for actor in actors]) == [0, 0]
print(ray._private.worker._global_node.get_session_dir_path(), flush=True)
time.sleep(600)
"""


def test_a_ray_of_our_own_is_quiet_and_ends_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(START_AND_WAIT)
    with (tmp_path / "stderr").open("w") as stderr:
        driver = subprocess.Popen(
            [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    assert driver.stdout is not None
    with driver:
        session = driver.stdout.readline().strip()
        assert len(processes_of(session)) >= 4
        driver.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while processes_of(session) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(session) == []
    assert (tmp_path / "stderr").read_text() == ""


def processes_of(session: str) -> list[str]:
    """Command lines of processes that name a session of Ray."""
    assert session
    lines = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if session in line:
            lines.append(line)
    return lines
