"""Ports of our own, for servers whose port is said beforehand, or that come back where they were."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST, _MOST_PROCESSES = 20_000, 16
"""Above the ports of Ray's workers; processes of tests share the ports among them."""


def free_port() -> int:
    """Return a port that is free and stays so: the system gives it to nobody, neither for ":0" nor to dial.

    One that the system has chosen is anybody's again as soon as it is closed.
    """
    given_by_system = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ours = list(range(_FIRST + process % _MOST_PROCESSES, given_by_system, _MOST_PROCESSES))
    random.SystemRandom().shuffle(ours)  # other runs of the tests may be under way, too
    for port in ours:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no port is free between {_FIRST} and {given_by_system}, where the system's begin")
