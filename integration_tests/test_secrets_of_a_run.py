"""A run with a farm and a token: the token is shown nowhere, nothing is unpickled, and TLS is the default."""

from __future__ import annotations

import io
import logging
import multiprocessing.reduction
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import cloudpickle
import pytest

from outrider.algorithm.commands.cli import main
from own_ports import free_port

DEADLINE_S = 60.0
TOKEN = "a-token-that-is-let-in"
WRONG = "a-token-that-is-not"


def farm(port: int, *arguments: object, host: str = "127.0.0.1") -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "outrider.envrunner.farm.farm_command", "--connect", f"{host}:{port}"]
    command += ["--env", "CartPole-v1", "--json-logs", "--debug", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def processes(farm_id: int) -> str:
    """Return what `ps` shows, once it shows that a farm has two runners."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        shown = subprocess.check_output(f"ps -ww -o args --pid {farm_id} --ppid {farm_id}".split())
        if shown.count(b"runner_process") == 2:
            return shown.decode()
        time.sleep(0.1)
    raise AssertionError(f"the farm has no two runners: {shown!r}")


class Farms(threading.Thread):
    """One comes with a wrong token, and once it is refused another with the right one."""

    def __init__(self, port: int, right: Path, wrong: Path) -> None:
        super().__init__()
        self.port, self.right, self.wrong = port, right, wrong
        self.said = self.said_by_wrong = self.processes = ""
        self.wrong_code: int | None = None

    def run(self) -> None:
        with farm(self.port, "--token-file", self.wrong) as process:
            self.said_by_wrong = words(process)
            self.wrong_code = process.returncode
        with farm(self.port, "--runners", 2, "--token-file", self.right) as process:
            self.processes = processes(process.pid)
            self.said = words(process)


def words(process: subprocess.Popen[str]) -> str:
    """Return what a process says until it ends, as it soon does."""
    try:
        return process.communicate(timeout=DEADLINE_S)[0]
    finally:
        process.kill()


@dataclass
class Run:
    """What is left of one, and of its farms."""

    code: int
    said: str
    farms: Farms
    folder: Path
    unpickled: list[str]


def forbid_pickles(patch: pytest.MonkeyPatch) -> list[str]:
    """Let everything in this process raise that reads a pickle, and note it."""
    noted: list[str] = []

    def refuse(*_: Any, **__: Any) -> NoReturn:
        noted.append("something was unpickled")
        raise AssertionError(noted[-1])

    class Refusing(pickle.Unpickler):  # others inherit from it
        load = refuse

    patch.setattr(pickle, "Unpickler", Refusing)
    patch.setattr(pickle._Unpickler, "load", refuse)
    for name in ("load", "loads", "_load", "_loads"):
        patch.setattr(pickle, name, refuse)
    for name in ("load", "loads"):
        patch.setattr(cloudpickle, name, refuse)
    patch.setattr(multiprocessing.reduction.ForkingPickler, "loads", refuse)
    return noted


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, port = tmp_path_factory.mktemp("secret"), free_port()
    right, wrong = folder / "right", folder / "wrong"
    right.write_text(TOKEN)
    wrong.write_text(WRONG)
    arguments = f"--listen 127.0.0.1:{port} --token-file {right} --num-env-runners 2 --min-runners 2 --plain"
    arguments += f" --env CartPole-v1 --stop-iterations 3 --run-dir {folder / 'run'}"
    farms = Farms(port, right, wrong)
    with pytest.MonkeyPatch.context() as patch, (folder / "said").open("w") as said:
        farms.start()
        logger = logging.getLogger("outrider")
        patch.setattr(logger, "handlers", [logging.StreamHandler(said)])
        patch.setattr(logger, "level", logging.DEBUG)
        patch.setattr(sys, "stderr", said)
        patch.setattr(sys, "stdout", said)
        noted = forbid_pickles(patch)
        code = main(["train", "ppo", *arguments.split()])
    farms.join(DEADLINE_S)
    return Run(code, (folder / "said").read_text(), farms, folder / "run", noted)


def test_the_run_is_over_and_the_wrong_farm_was_refused(run: Run) -> None:
    assert run.code == 0, run.said
    assert "iteration-000003" in run.said, run.said
    assert run.farms.wrong_code == 3, run.farms.said_by_wrong


def test_neither_token_is_in_what_anybody_says(run: Run) -> None:
    assert "does not let this side in" in run.farms.said_by_wrong
    assert '"event"' in run.farms.said
    assert "did not let" in run.said
    for text in (run.said, run.farms.said, run.farms.said_by_wrong):
        assert TOKEN not in text
        assert WRONG not in text


def test_the_token_is_in_no_list_of_processes(run: Run) -> None:
    assert run.farms.processes.count("runner_process") == 2
    assert "farm_command" in run.farms.processes
    assert TOKEN not in run.farms.processes


def test_the_token_is_in_no_file_of_the_run(run: Run) -> None:
    files = [file for file in run.folder.rglob("*") if file.is_file()]
    assert "token_file" in (run.folder / "settings.json").read_text()
    assert len(files) > 3
    assert not any(TOKEN.encode() in file.read_bytes() for file in files)


def test_nothing_is_unpickled_by_who_trains(run: Run) -> None:
    assert run.code == 0
    assert run.unpickled == []


def test_whatever_is_unpickled_would_be_noticed() -> None:
    content = cloudpickle.dumps(1)
    with pytest.MonkeyPatch.context() as patch:
        noted = forbid_pickles(patch)
        reads: list[Callable[[], object]] = [
            lambda: pickle.loads(content),
            lambda: cloudpickle.loads(content),
            lambda: pickle.Unpickler(io.BytesIO(content)).load(),
            lambda: pickle._Unpickler(io.BytesIO(content)).load(),
        ]
        for read in reads:
            with pytest.raises(AssertionError):
                read()
    assert len(noted) == 4


def test_a_run_that_others_can_reach_wants_a_token_besides_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OUTRIDER_TOKEN", raising=False)
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -subj /CN=here"
    subprocess.run(make.split(), check=True, capture_output=True)
    arguments = "--env CartPole-v1 --num-env-runners 1 --listen 0.0.0.0:0"
    arguments += " --tls-certificate certificate.pem --tls-key key.pem"
    assert main(["train", "ppo", *arguments.split()]) == 1
    assert "can be reached from other machines, and no token is given" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("flags", "begins"), [([], b"\x16\x03"), (["--insecure"], b"PRI * HTTP/2")])
def test_a_farm_speaks_tls_to_other_machines_unless_it_is_told_not_to(
    flags: list[str], begins: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE_S)
        # This machine, by an address that is not its loopback address.
        with farm(server.getsockname()[1], *flags, host="0.0.0.0") as process:
            try:
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(DEADLINE_S)
                    assert connection.recv(12).startswith(begins)
            finally:
                process.kill()
