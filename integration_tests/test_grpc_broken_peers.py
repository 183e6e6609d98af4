"""Peers that are killed, frozen, cut off or slow, over gRPC and where it matters in real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from outrider.testing.chaos_proxy import ChaosProxy
from outrider.testing.noted_connections import (
    READY,
    SERVICE,
    Notes,
    announce,
    connect,
    listening,
)
from outrider.transport import grpc_options
from outrider.wire import session

DIALLING_PEER = f"""
import sys, time
from outrider.transport.grpc_dialer import dial
from outrider.transport.security import ClientSecurity

class Deaf:
    def opened(self, connection): pass
    def received(self, connection, head, attachment): pass
    def closed(self, connection, reason): pass

connection = dial(sys.argv[1], "{SERVICE}", Deaf(), security=ClientSecurity(insecure=True), timeout_s=10)
connection.send({READY!r})
time.sleep(60)
"""
LISTENING_PEER = f"""
import time
from outrider.transport.grpc_listener import Listener
from outrider.transport.security import ServerSecurity

class Deaf:
    def opened(self, connection): pass
    def received(self, connection, head, attachment): pass
    def closed(self, connection, reason): pass

listener = Listener("127.0.0.1:0", {{"{SERVICE}": Deaf()}}, security=ServerSecurity())
print(listener.address, flush=True)
time.sleep(60)
"""


@contextmanager
def process(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def test_a_peer_that_is_killed_is_gone_at_once_on_both_sides() -> None:
    there, here = Notes(), Notes()
    with listening(there) as listener, process(DIALLING_PEER, listener.address) as dialling:
        there.message()
        dialling.kill()
        assert there.end() == "the connection ended without a goodbye"
    with process(LISTENING_PEER) as listening_peer:
        assert listening_peer.stdout is not None
        connect(listening_peer.stdout.readline().strip(), here).send(READY)
        listening_peer.kill()
        assert "the connection broke" in here.end()


@pytest.mark.parametrize("side", ["SERVER", "CLIENT"])
def test_keepalive_waits_63_s_at_most(side: str) -> None:
    options = dict(getattr(grpc_options, side))
    assert options["grpc.keepalive_time_ms"] + options["grpc.http2.ping_timeout_ms"] <= 63_000


def test_a_frozen_peer_is_noticed_on_both_sides_before_terms_are_agreed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for side in ("SERVER", "CLIENT"):
        options = {**dict(getattr(grpc_options, side)), "grpc.http2.ping_timeout_ms": 2_000}
        monkeypatch.setattr(grpc_options, side, tuple(options.items()))
    there, here = Notes(), Notes()
    with (
        listening(there) as listener,
        process(DIALLING_PEER, listener.address) as dialling,
        process(LISTENING_PEER) as listening_peer,
    ):
        assert listening_peer.stdout is not None
        connect(listening_peer.stdout.readline().strip(), here)
        there.message()
        for peer in (dialling, listening_peer):
            peer.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        there.end()
        here.end()
        assert time.monotonic() - start < 7


class Proxy:
    """Forwards bytes between one client and a server until it is told to swallow them."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self._server = (host, int(port))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._is_swallowing = threading.Event()
        self._sockets = [self._listening]
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listening.getsockname()[1]}"

    def swallow(self) -> None:
        self._is_swallowing.set()

    def close(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _run(self) -> None:
        with suppress(OSError):
            client, _ = self._listening.accept()
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(2**16):
                if not self._is_swallowing.is_set():
                    sink.sendall(data)


def test_heartbeats_keep_a_connection_and_their_absence_ends_it_on_both_sides() -> None:
    there, here = Notes(), Notes()
    terms = session.Terms(heartbeat_interval_s=0.1, silence_timeout_s=0.5)
    with listening(there) as listener:
        proxy = Proxy(listener.address)
        connection = connect(proxy.address, here)
        connection.keep(terms)
        there.connection().keep(terms)
        time.sleep(1.0)
        connection.send(READY)
        assert there.message() == (READY, None)
        proxy.swallow()  # half open: both sockets stay up
        start = time.monotonic()
        assert "nothing was heard of" in there.end()
        assert "nothing was heard of" in here.end()
        assert time.monotonic() - start < 3
        proxy.close()


def test_a_slow_line_carries_a_large_message_and_nobody_is_taken_for_silent() -> None:
    there, here = Notes(), Notes()
    terms = session.Terms(heartbeat_interval_s=0.5, silence_timeout_s=5.0)
    large = os.urandom(210 * 2**10)
    with listening(there) as listener, ChaosProxy(listener.address, bytes_per_s=24 * 2**10) as proxy:
        connection = connect(proxy.address, here)
        for each in (connection, there.connection()):
            each.keep(terms)
        connection.send(READY)
        connection.send(announce(len(large)), [large])
        assert there.message() == (READY, None)
        start = time.monotonic()
        _, attachment = there.messages.get(timeout=14)
        assert attachment is not None
        assert attachment == large
        assert time.monotonic() - start > terms.silence_timeout_s
        assert there.ends.empty()
