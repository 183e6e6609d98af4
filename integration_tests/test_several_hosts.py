"""A run and two farms on hosts of their own, with TLS and a token, over slow links of which one breaks.

Hosts are network namespaces where this machine lets us make some (root on Linux, with `ip`), and otherwise
addresses of the loopback interface.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from outrider.testing.chaos_proxy import ChaosProxy
from outrider.testing.command import Command

DEADLINE_S = 100.0
LATENCY_S = 0.025
"""In each direction."""


_PREFIX = "outrider-"


class Host(Protocol):
    """A machine with a farm, as the run's machine sees it."""

    gateway: str
    """Address of the run's machine on the link between the two."""

    def command(self, arguments: Sequence[str]) -> Sequence[str]:
        """Return what runs a command there."""
        ...

    def set_link(self, proxy: ChaosProxy, *, is_up: bool) -> None:
        """Take the link down, or up again."""
        ...


class Namespace:
    """A network namespace, and a cable to it."""

    def __init__(self, number: int, stack: ExitStack) -> None:
        self._name, self._link = f"{_PREFIX}{os.getpid()}-{number}", f"or{os.getpid() % 10**7}-{number}"
        network = f"198.18.{os.getpid() % 250}.{8 * number}".rpartition(".")
        first = int(network[2])
        self.gateway, peer = f"{network[0]}.{first + 1}", f"{network[0]}.{first + 2}"
        _delete_what_dead_tests_left()
        _ip("netns", "add", self._name)
        stack.callback(_ip, "netns", "delete", self._name)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self._name)
        _ip("address", "add", f"{self.gateway}/30", "dev", self._link)
        _ip("link", "set", self._link, "up")
        _ip("-n", self._name, "address", "add", f"{peer}/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", self._name, "link", "set", device, "up")

    def command(self, arguments: Sequence[str]) -> Sequence[str]:
        return ["ip", "netns", "exec", self._name, *arguments]

    def set_link(self, proxy: ChaosProxy, *, is_up: bool) -> None:
        _ip("link", "set", self._link, "up" if is_up else "down")


class Loopback:
    """An address of this machine, whose link is a proxy that forwards nothing."""

    def __init__(self, number: int) -> None:
        self.gateway = f"127.0.0.{2 + number}"

    def command(self, arguments: Sequence[str]) -> Sequence[str]:
        return arguments

    def set_link(self, proxy: ChaosProxy, *, is_up: bool) -> None:
        proxy.is_half_open = not is_up


def _ip(*arguments: str) -> str:
    command = ["ip", *arguments]
    return subprocess.run(command, check=True, capture_output=True, timeout=10, text=True).stdout


def _delete_what_dead_tests_left() -> None:
    """Delete the namespaces of tests that were killed, whose cables lead to addresses that we may give."""
    for line in _ip("netns", "list").splitlines():
        name = line.split()[0]
        process = name.removeprefix(_PREFIX).partition("-")[0]
        if name.startswith(_PREFIX) and not Path(f"/proc/{process}").exists():
            _ip("netns", "delete", name)


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    with ExitStack() as stack:
        found: list[Host]
        try:
            found = [Namespace(number, stack) for number in range(2)]
        except (OSError, subprocess.CalledProcessError):
            found = [Loopback(number) for number in range(2)]
        print(f"hosts are of the kind {type(found[0]).__name__}")
        yield found


@pytest.fixture
def files(hosts: list[Host], tmp_path: Path) -> Path:
    """Make a token, and a certificate for the addresses by which the hosts know the run's machine."""
    (tmp_path / "token").write_text(secrets.token_hex(32))
    names = ",".join(f"IP:{host.gateway}" for host in hosts)
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=trainer",
    ]
    command += ["-keyout", "key.pem", "-out", "certificate.pem", "-addext", f"subjectAltName={names}"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    return tmp_path


def train(files: Path) -> Command:
    flags = ["--env", "CartPole-v1", "--seed", "1", "--plain", "--run-dir", str(files / "run")]
    flags += ["--listen", "0.0.0.0:0", "--token-file", str(files / "token")]
    flags += ["--tls-certificate", str(files / "certificate.pem"), "--tls-key", str(files / "key.pem")]
    flags += ["--num-env-runners", "2", "--min-runners", "2", "--num-envs-per-env-runner", "8"]
    flags += ["--stop-evaluation-return-mean", "450", "--evaluation-duration", "20"]
    return Command([sys.executable, "-m", "outrider.algorithm", "train", "ppo", *flags])


def farm(host: Host, proxy: ChaosProxy, files: Path) -> Command:
    flags = ["--connect", proxy.address, "--env", "CartPole-v1", "--runners", "1"]
    flags += ["--token-file", str(files / "token"), "--tls-ca", str(files / "certificate.pem")]
    return Command(host.command([sys.executable, "-m", "outrider.envrunner.farm.farm_command", *flags]))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_a_run_learns_from_farms_on_other_hosts_also_when_a_link_breaks(
    hosts: list[Host], files: Path
) -> None:
    with ExitStack() as stack:
        training = stack.enter_context(train(files))
        port = training.wait_for(r"--connect \S+:(\d+)", within_s=DEADLINE_S)[1]
        proxies = [stack.enter_context(ChaosProxy(f"127.0.0.1:{port}", host=host.gateway)) for host in hosts]
        for proxy in proxies:
            proxy.latency_s = LATENCY_S
        farms = [
            stack.enter_context(farm(host, proxy, files)) for host, proxy in zip(hosts, proxies, strict=True)
        ]
        training.wait_for(r"iteration +\d", within_s=DEADLINE_S)
        hosts[1].set_link(proxies[1], is_up=False)
        training.wait_for("lost touch with runner", within_s=DEADLINE_S)
        hosts[1].set_link(proxies[1], is_up=True)
        farms[1].wait_for("connected again to", within_s=DEADLINE_S)
        assert training.wait(within_s=DEADLINE_S) == 0, training.text
        assert "reached 450" in training.text
        last = json.loads((files / "run" / "progress.jsonl").read_text().splitlines()[-1])
        assert (last["num_joined"], last["num_left"], last["num_lost_rows"]) == (2, 0, 0)
        assert [each.wait(within_s=DEADLINE_S) for each in farms] == [0, 0]
