"""The command `outrider-farm` against a gateway: what it does, what it survives, and how it ends."""

from __future__ import annotations

import json
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from outrider.envrunner import EnvironmentSettings
from outrider.envrunner.farm.farm_flags import parser
from outrider.envrunner.fleet.remote_runners import Left, Lost, Placed, Ready, RunnerEvent, Sampled, Waiting
from outrider.envrunner.gateway.gateway import Gateway
from outrider.testing.runner_pool_conformance import PoolSetup, pool_setup, weights_of
from outrider.transport import LocalWeights
from outrider.transport.security import ServerSecurity
from own_ports import free_port

DEADLINE_S = 60.0
ROOT = Path(__file__).resolve().parents[1]


class FarmCommand:
    """A farm in a process, and the lines that it prints."""

    def __init__(self, *arguments: str, environ: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "outrider.envrunner.farm.farm_command", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environ or {})},
        )
        self.lines: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            self._new.put(line.rstrip())
        self._new.put(None)

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """Return the match of the next line that matches."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            line = self._new.get(timeout=max(0.01, deadline - time.monotonic()))
            assert line is not None, f"it ended without a line like {pattern!r}: {self.lines}"
            if found := re.search(pattern, line):
                return found

    def exit_code(self) -> int:
        code = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        assert not any("Traceback" in line for line in self.lines), "\n".join(self.lines)
        return code

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def farm(*arguments: str, environ: dict[str, str] | None = None) -> Iterator[FarmCommand]:
    command = FarmCommand(*arguments, environ=environ)
    try:
        yield command
    finally:
        command.end()


def gateway(
    address: str = "127.0.0.1:0",
    *,
    setup: PoolSetup | None = None,
    num_seats: int = 2,
    security: ServerSecurity | None = None,
) -> Gateway:
    setup = setup or pool_setup()
    made = Gateway(
        setup.plan,
        setup.settings,
        num_seats=num_seats,
        address=address,
        security=security or ServerSecurity(),
    )
    for index in range(num_seats):
        made.start(index, incarnation=0)
    return made


def joining(opened: Gateway, *more: str, runners: int = 2) -> list[str]:
    return ["--connect", opened.address, "--env", "CartPole-v1", "--runners", str(runners), *more]


def until(opened: Gateway, wanted: Callable[[list[RunnerEvent]], bool]) -> list[RunnerEvent]:
    """Collect events until there are those that are wanted."""
    deadline = time.monotonic() + DEADLINE_S
    events: list[RunnerEvent] = []
    while not wanted(events):
        assert time.monotonic() < deadline, f"only {events} came"
        events += opened.events(1.0)
    return events


def num_of(kind: type[Any], events: list[RunnerEvent]) -> int:
    return sum(isinstance(event, kind) for event in events)


def weights(version: int) -> LocalWeights:
    return LocalWeights(weights_of(pool_setup(), version))


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed]


def test_a_farm_joins_samples_and_drains() -> None:
    with closing(gateway()) as opened, farm(*joining(opened)) as command:
        started = time.monotonic()
        until(opened, lambda events: num_of(Ready, events) == 2)
        assert time.monotonic() - started < 30  # 3 s where nothing else runs
        for index in range(2):
            opened.ask(index, weights(0))
        sampled = until(opened, lambda events: num_of(Sampled, events) == 2)
        assert {e.fragment.summary.policy_version for e in sampled if isinstance(e, Sampled)} == {0}
        for index in range(2):
            opened.ask(index, weights(1))
        command.process.send_signal(signal.SIGTERM)
        events = until(opened, lambda events: num_of(Left, events) == 2)
        assert num_of(Sampled, events) == 2  # what was asked for before
        assert num_of(Lost, events) == 0
        assert command.exit_code() == 0
        assert command.lines[-1] == "outrider-farm: drained"


def test_a_second_signal_ends_a_farm_at_once() -> None:
    with closing(gateway()) as opened, farm(*joining(opened, "--drain-timeout", "50")) as command:
        until(opened, lambda events: num_of(Ready, events) == 2)
        opened.ask(0, None)  # and no weights: this is never answered
        command.process.send_signal(signal.SIGINT)
        command.wait_for_line("one more signal stops at once")
        command.process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        assert command.exit_code() == 1
        assert time.monotonic() - asked < 10


def test_a_drain_takes_no_longer_than_it_may() -> None:
    with closing(gateway()) as opened, farm(*joining(opened, "--drain-timeout", "0.5")) as command:
        until(opened, lambda events: num_of(Ready, events) == 2)
        opened.ask(0, None)
        command.process.send_signal(signal.SIGTERM)
        assert command.exit_code() == 0
        events = until(opened, lambda events: num_of(Lost, events) + num_of(Left, events) == 2)
        assert [event.index for event in events if isinstance(event, Lost)] == [0]
    assert any("fragments thrown away that nobody had acknowledged: 1" in line for line in command.lines)


def test_a_killed_runner_is_started_anew() -> None:
    with closing(gateway()) as opened, farm(*joining(opened)) as command:
        until(opened, lambda events: num_of(Ready, events) == 2)
        os.kill(children(command.process.pid)[0], signal.SIGKILL)
        line = command.wait_for_line(r"runner \d: its process was killed by SIGKILL; it is started anew in")
        assert "runner 0" in line.string or "runner 1" in line.string
        command.wait_for_line(r"runner \d: connected to")


def test_runners_end_with_a_farm_that_is_killed() -> None:
    with closing(gateway()) as opened, farm(*joining(opened)) as command:
        until(opened, lambda events: num_of(Ready, events) == 2)
        pids = children(command.process.pid)
        assert len(pids) == 2
        command.process.kill()
        deadline = time.monotonic() + DEADLINE_S
        while any(Path(f"/proc/{pid}").exists() for pid in pids):
            assert time.monotonic() < deadline, "a runner outlives its farm"
            time.sleep(0.05)
        events = until(opened, lambda events: num_of(Lost, events) == 2)
        assert {each.reason for each in events if isinstance(each, Lost)} == {
            "the process that started it has ended"
        }


def test_a_farm_comes_back_to_a_gateway_that_restarts() -> None:
    first = gateway(f"127.0.0.1:{free_port()}", num_seats=1)
    with farm(*joining(first, runners=1)) as command:
        until(first, lambda events: num_of(Ready, events) == 1)
        first._listening.close(0.0)  # type: ignore[union-attr] - as if its process were killed
        command.wait_for_line("runner 0: lost the gateway")
        with closing(gateway(first.address, num_seats=1)) as second:
            events = until(second, lambda events: num_of(Ready, events) == 1)
            assert {type(event) for event in events} <= {Waiting, Placed, Ready}
            second.ask(0, weights(5))
            until(second, lambda events: num_of(Sampled, events) == 1)
            command.wait_for_line("runner 0: connected to")
        assert command.exit_code() == 0  # the gateway said that the run is over
        assert command.lines[-1] == "outrider-farm: the training run is over"


def test_the_health_port_tells_whether_runners_are_connected() -> None:
    waiting = ["--connect", "127.0.0.1:1", "--env", "CartPole-v1", "--health-port", "0"]
    with farm(*waiting) as command:
        port = command.wait_for_line(r"health port (\d+)")[1]
        assert urlopen(f"http://127.0.0.1:{port}/healthz", timeout=DEADLINE_S).status == 200
        with pytest.raises(HTTPError, match="503"):
            urlopen(f"http://127.0.0.1:{port}/readyz", timeout=DEADLINE_S)
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"http://127.0.0.1:{port}/", timeout=DEADLINE_S)
    with closing(gateway()) as opened, farm(*joining(opened, "--health-port", "0")) as command:
        port = command.wait_for_line(r"health port (\d+)")[1]
        command.wait_for_line("connected to")
        assert urlopen(f"http://127.0.0.1:{port}/readyz", timeout=DEADLINE_S).status == 200


def test_json_logs_are_one_object_to_a_line() -> None:
    with closing(gateway(num_seats=1)) as opened, farm(*joining(opened, "--json-logs", runners=1)) as command:
        command.wait_for_line("connected to")
        opened.close()
        assert command.exit_code() == 0
    read = [json.loads(line) for line in command.lines]
    assert all({"time", "level", "runner", "event", "text"} <= line.keys() for line in read)
    assert [line["event"] for line in read] == ["start", "connected", "ended"]
    assert [line["runner"] for line in read] == [None, 0, None]


SIMPLE_SPREAD = "mpe2.simple_spread_v3:parallel_env"
CART_POLE = ["--connect", "127.0.0.1:1", "--env", "CartPole-v1"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--conect", "x"], "unknown flag --conect; did you mean --connect?"),
        (
            ["--connect", "127.0.0.1:1", "--env", "CartPol-v1"],
            "unknown environment 'CartPol-v1'; did you mean",
        ),
        (
            [*CART_POLE, "--env-config", '{"speed": 3}'],
            "env_config has 'speed', which CartPole-v1 does not take",
        ),
    ],
)
def test_what_was_typed_wrongly_is_said_in_a_sentence(arguments: list[str], sentence: str) -> None:
    with farm(*arguments) as command:
        assert command.exit_code() == 2
        assert command.lines[-1].startswith("outrider-farm: ")
        assert sentence in command.lines[-1]


def test_the_farms_in_the_documents_can_be_typed() -> None:
    text = "".join((ROOT / name).read_text() for name in ("docs/farms.md", "packages/envrunner/README.md"))
    typed = re.findall(r"^\$ outrider-farm (.*)$", text.replace("\\\n", " "), re.MULTILINE)
    assert len(typed) >= 3
    for arguments in typed:
        assert parser().parse(shlex.split(arguments)).env in {"CartPole-v1", SIMPLE_SPREAD, "game:Duel"}


def test_debug_shows_where() -> None:
    with farm("--connect", "127.0.0.1:1", "--env", "CartPol-v1", "--debug") as command:
        assert command.process.wait(DEADLINE_S) == 2
        command.wait_for_line("Traceback")


def test_a_gateway_that_is_gone_for_good_is_given_up() -> None:
    with farm(*CART_POLE, "--give-up-after", "1", "--runners", "2") as command:
        assert command.exit_code() == 4
        assert "there was no gateway for" in command.lines[-1]
        assert "nobody listens there" in command.lines[-1]


def test_spaces_that_differ_are_refused_with_the_field() -> None:
    setup = replace(pool_setup(), environment=EnvironmentSettings("CartPole-v1"))
    with closing(gateway(setup=setup)) as opened:
        arguments = ["--connect", opened.address, "--env", "Acrobot-v1", "--runners", "2"]
        with farm(*arguments) as command:
            assert command.exit_code() == 3
        assert "observation_space" in command.lines[-1]
        assert "(6,)" in command.lines[-1]
        assert "(4,)" in command.lines[-1]


def test_a_wrong_token_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("wrong\n")
    with closing(gateway(security=ServerSecurity(tokens=("right",)))) as opened:
        with farm(*joining(opened, "--token-file", str(token))) as command:
            assert command.exit_code() == 3
            assert "does not let this side in" in command.lines[-1]
            assert "wrong" not in command.lines[-1].replace("wrong token", "")
        with farm(*joining(opened), environ={"OUTRIDER_TOKEN": "right"}):
            until(opened, lambda events: num_of(Ready, events) == 2)


def make_certificate(folder: Path, *, is_expired: bool) -> ServerSecurity:
    """Make a self-signed certificate for this machine with OpenSSL."""
    key, request, certificate = (folder / name for name in ("key.pem", "request.pem", "certificate.pem"))
    (folder / "index").touch()
    (folder / "ca.cnf").write_text(
        f"[ca]\ndefault_ca = this\n[this]\ndatabase = {folder}/index\nnew_certs_dir = {folder}\n"
        "rand_serial = yes\ndefault_md = sha256\npolicy = any\nx509_extensions = names\n"
        "[any]\ncommonName = supplied\n[names]\nsubjectAltName = IP:127.0.0.1\n"
    )
    dates = ["20200101000000Z", "20210101000000Z" if is_expired else "21000101000000Z"]
    for command in (
        ["req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=trainer"],
        [
            "ca",
            "-batch",
            "-selfsign",
            "-config",
            folder / "ca.cnf",
            "-keyfile",
            key,
            "-in",
            request,
            "-out",
            certificate,
            "-notext",
            "-startdate",
            dates[0],
            "-enddate",
            dates[1],
        ],
    ):
        subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True, timeout=DEADLINE_S)
    return ServerSecurity(certificate=certificate, key=key)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
@pytest.mark.parametrize("is_expired", [False, True])
def test_a_certificate_is_good_until_it_expires(tmp_path: Path, *, is_expired: bool) -> None:
    security = make_certificate(tmp_path, is_expired=is_expired)
    with (
        closing(gateway(security=security)) as opened,
        farm(*joining(opened, "--tls-ca", str(security.certificate))) as command,
    ):
        if is_expired:
            assert command.exit_code() == 3
            assert "its certificate has expired; renew it there" in command.lines[-1]
        else:
            until(opened, lambda events: num_of(Ready, events) == 2)
