"""Connections over gRPC between real sockets, and where it matters between real processes."""

from __future__ import annotations

import gc
import os
import queue
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest

from outrider.testing.chaos_proxy import ChaosProxy
from outrider.transport import grpc_listener, grpc_options, liveness
from outrider.transport.buffer_pool import RECEIVED
from outrider.transport.connection import Connection, DialError
from outrider.transport.grpc_dialer import dial
from outrider.transport.grpc_listener import Listener
from outrider.transport.security import ClientSecurity, ServerSecurity
from outrider.wire import Limits, WireError, session
from outrider.wire.session_codec import encode_sample_request
from outrider.wire.stream import chunk_message, goodbye_message, read_stream_message

SERVICE = "outrider.wire.v1.RunnerService/Sample"
READY = encode_sample_request(session.Ready())
PLAIN = ClientSecurity(insecure=True)
TOKEN, OTHER_TOKEN = "a-secret-that-nobody-prints", "another-secret"
PATIENCE_S = 10.0


class Notes:
    """A receiver that writes down what it is told."""

    def __init__(self) -> None:
        self.connections: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self.messages: queue.SimpleQueue[tuple[bytes, memoryview | None]] = queue.SimpleQueue()
        self.ends: queue.SimpleQueue[str] = queue.SimpleQueue()

    def opened(self, connection: Connection) -> None:
        self.connections.put(connection)

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        self.messages.put((head, attachment))

    def closed(self, connection: Connection, reason: str) -> None:
        self.ends.put(reason)

    def connection(self) -> Connection:
        return self.connections.get(timeout=PATIENCE_S)

    def message(self) -> tuple[bytes, memoryview | None]:
        return self.messages.get(timeout=PATIENCE_S)

    def end(self) -> str:
        return self.ends.get(timeout=PATIENCE_S)

    def goodbye(self) -> session.Goodbye:
        found = read_stream_message(self.message()[0]).goodbye
        assert found is not None
        return found


@contextmanager
def listening(receiver: object, address: str = "127.0.0.1:0", **settings: Any) -> Iterator[Listener]:
    settings.setdefault("security", ServerSecurity())
    listener = Listener(address, {SERVICE: receiver}, **settings)  # type: ignore[dict-item]
    try:
        yield listener
    finally:
        listener.close()


def connect(address: str, receiver: Notes, security: ClientSecurity = PLAIN) -> Connection:
    return dial(address, SERVICE, receiver, security=security, timeout_s=PATIENCE_S)


def announce(size_bytes: int) -> bytes:
    return encode_sample_request(session.FragmentDelivery(1), attachment_bytes=size_bytes)


# ------------------------------------------------------------------------------------------------ messages


def test_messages_arrive_whole_and_in_order_and_small_ones_overtake_large_ones() -> None:
    there, here = Notes(), Notes()
    with listening(there) as listener:
        connection = connect(listener.address, here)
        large = os.urandom(20 * 2**20 + 7)
        heads = [encode_sample_request(session.Leaving(str(number))) for number in range(50)]
        connection.send(heads[0])
        connection.send(announce(len(large)), [large[:1000], memoryview(large)[1000:]])
        for head in heads[1:]:
            connection.send(head)
        connection.send(announce(3), [b"abc"])
        arrived = [there.message() for _ in range(52)]
        assert [head for head, attachment in arrived if attachment is None] == heads
        attached = [bytes(attachment) for _, attachment in arrived if attachment is not None]
        assert attached == [large, b"abc"]
        assert [attachment for _, attachment in arrived[:50]] == [None] * 50


def test_what_is_queued_and_the_last_message_arrive_before_the_end_in_both_directions() -> None:
    there, here = Notes(), Notes()
    last = goodbye_message(session.Goodbye(reason=session.GoodbyeReason.DONE, sentence="that was all"))
    with listening(there) as listener:
        for dialled_closes in (False, True):
            connection = connect(listener.address, here)
            ends = [(connection, here, there), (there.connection(), there, here)]
            connection.send(READY)
            there.message()
            closing, one, other = ends[dialled_closes]
            closing.send(announce(5 * 2**20), [bytes(5 * 2**20)])
            closing.close(last)
            _, attachment = other.message()
            assert attachment is not None
            assert len(attachment) == 5 * 2**20
            assert other.goodbye().sentence == "that was all"
            assert one.end() == "this side closed the connection"
            assert other.end() == "the other side closed the connection"


def test_a_receiver_that_refuses_a_message_cuts_the_peer_off_with_a_sentence() -> None:
    class Strict(Notes):
        def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
            raise WireError("rewards hold NaN; send finite ones")

    there, here = Strict(), Notes()
    with listening(there) as listener:
        connect(listener.address, here).send(READY)
        goodbye = here.goodbye()
        assert goodbye.reason is session.GoodbyeReason.MISBEHAVED
        assert goodbye.sentence == "rewards hold NaN; send finite ones"
        assert "was cut off: rewards hold NaN" in there.end()
        assert here.end() == "the other side closed the connection"


def test_a_listener_that_closes_ends_its_connections_on_both_sides_and_frees_its_port() -> None:
    there, here = Notes(), Notes()
    with listening(there) as listener:
        connect(listener.address, here).send(READY)
        there.message()
        address = listener.address
    assert there.end()
    assert "the connection broke" in here.end()
    with listening(there, address) as listener:
        assert listener.address == address


def test_sockets_of_unix_carry_connections(tmp_path: Path) -> None:
    there, here = Notes(), Notes()
    with listening(there, f"unix:{tmp_path / 'gateway'}") as listener:
        assert listener.address == f"unix:{tmp_path / 'gateway'}"
        connect(listener.address, here).send(READY)
        assert there.message() == (READY, None)
        with pytest.raises(OSError, match="another process listens there"):
            Listener(listener.address, {SERVICE: there}, security=ServerSecurity())


# ------------------------------------------------------------------------------------------- broken peers

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


# ------------------------------------------------------------------------------------------- hostile peers


def speak(address: str, messages: Iterator[bytes]) -> list[bytes]:
    """Send messages as they are and return what is answered until the other side ends the stream."""
    with grpc.insecure_channel(address) as channel:
        answers = channel.stream_stream(f"/{SERVICE}")(messages, timeout=PATIENCE_S)
        found = []
        with suppress(grpc.RpcError):
            found.extend(answers)
        return found


def sentence(answers: list[bytes]) -> str:
    goodbye = read_stream_message(answers[-1]).goodbye
    assert goodbye is not None
    assert goodbye.reason is session.GoodbyeReason.MISBEHAVED
    return goodbye.sentence


def waiting(*messages: bytes, then: Callable[[], object]) -> Iterator[bytes]:
    yield from messages
    then()


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([chunk_message([b"abc"])], "where 0 were to come"),
        ([announce(2)], "a large message is announced first; introduce yourself first"),
        ([READY, announce(2), chunk_message([b"abc"])], "a chunk of 3 bytes where 2 were to come"),
        ([READY, announce(5), announce(5)], "one travels at a time"),
        ([announce(2**40)], "max_message_bytes is 1000 and 1099511627776 came"),
        ([announce(1001)], "max_message_bytes is 1000 and 1001 came"),
        ([b"\xff\xff\xff"], "message of a stream"),
        ([b"cos\nsystem\n(S'true'\ntR."], "message of a stream"),
    ],
)
def test_messages_that_break_a_rule_end_in_a_sentence_and_take_no_memory(
    messages: list[bytes], expected: str
) -> None:
    there = Notes()
    used_bytes = RECEIVED.used_bytes
    with listening(there, limits=Limits(max_message_bytes=1000)) as listener:
        done = threading.Event()
        answers = speak(listener.address, waiting(*messages, then=done.wait))
        done.set()
        assert expected in sentence(answers)
        assert expected in there.end()
        assert RECEIVED.used_bytes <= used_bytes + 1000


def test_a_flood_is_cut_off_and_others_go_on() -> None:
    there, flooding, calm = Notes(), Notes(), Notes()
    with listening(there, max_messages_per_s=100) as listener:
        other = connect(listener.address, calm)
        connection = connect(listener.address, flooding)
        for _ in range(501):
            connection.send(READY)
        assert "more than 500 messages came within 5 s" in flooding.goodbye().sentence
        assert "was cut off" in there.end()
        other.send(READY)
        assert [there.message() for _ in range(501)] == [(READY, None)] * 501


def test_a_stream_without_a_first_message_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_listener, "FIRST_MESSAGE_TIMEOUT_S", 0.2)
    here = Notes()
    with listening(Notes()) as listener:
        connect(listener.address, here)
        assert "no message came within 0.2 s" in here.goodbye().sentence
        assert here.end()


@pytest.mark.parametrize(
    ("size_bytes", "num_bytes_at_once", "least"), [(10**6, 1, 16_384), (10**8, 5_000, 333_333)]
)
def test_a_large_message_that_dribbles_is_cut_off_and_a_larger_one_sooner(
    monkeypatch: pytest.MonkeyPatch, size_bytes: int, num_bytes_at_once: int, least: int
) -> None:
    monkeypatch.setattr(liveness, "PACE_WINDOW_S", 0.3)
    done = threading.Event()

    def dribble() -> Iterator[bytes]:
        yield READY
        yield announce(size_bytes)
        while not done.wait(0.05):
            yield chunk_message([bytes(num_bytes_at_once)])

    with listening(Notes()) as listener:
        answers = speak(listener.address, dribble())
        done.set()
        assert f"came slower than {least} bytes/s" in sentence(answers)


def test_no_more_connections_than_allowed_are_open_for_one_token() -> None:
    there = Notes()
    security = ServerSecurity(tokens=(TOKEN, OTHER_TOKEN))
    mine, others = (ClientSecurity(insecure=True, token=token) for token in (TOKEN, OTHER_TOKEN))
    with listening(there, security=security, max_connections_per_identity=2) as listener:
        first = connect(listener.address, Notes(), mine)
        connect(listener.address, Notes(), mine)
        with pytest.raises(DialError, match="2 connections of the same token") as caught:
            connect(listener.address, Notes(), mine)
        assert not caught.value.is_final
        assert listener.num_refused == 1
        connect(listener.address, Notes(), others)
        first.close()
        there.end()
        connect(listener.address, Notes(), mine)


# ----------------------------------------------------------------------------------------------- security


def make_certificates(folder: Path) -> None:
    """Make two authorities, and certificates of a server and clients, with openssl."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def request(name: str, subject: str) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)

    def sign(name: str, authority: str, names: str, days: str) -> None:
        (folder / "names").write_text(f"subjectAltName={names}\n")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", days),
            *(
                "-CA",
                f"{authority}.pem",
                "-CAkey",
                f"{authority}.key",
                "-CAcreateserial",
                "-extfile",
                "names",
            ),
        )

    for authority in ("ca", "other-ca"):
        request(authority, f"/CN={authority}")
        (folder / "authority").write_text("basicConstraints=critical,CA:TRUE\n")
        openssl(
            *("x509", "-req", "-in", f"{authority}.csr", "-out", f"{authority}.pem", "-days", "2"),
            *("-signkey", f"{authority}.key", "-extfile", "authority"),
        )
    for name, authority, names, days in (
        ("server", "ca", "IP:127.0.0.1,DNS:localhost", "2"),
        ("expired", "ca", "IP:127.0.0.1", "-1"),
        ("elsewhere", "ca", "DNS:elsewhere.example", "2"),
        ("farm", "ca", "DNS:farm", "2"),
        ("stranger", "other-ca", "DNS:farm", "2"),
    ):
        request(name, f"/CN={name}")
        sign(name, authority, names, days)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.mark.parametrize(
    ("server", "client_ca", "ca", "client", "expected"),
    [
        ("server", None, "ca", None, None),
        ("server", "ca", "ca", "farm", None),
        ("server", None, "other-ca", None, "not signed by an authority that is trusted here"),
        ("expired", None, "ca", None, "its certificate has expired"),
        ("elsewhere", None, "ca", None, "its certificate was made for another name"),
        ("server", "ca", "ca", None, "does not accept the certificate of this side"),
        ("server", "ca", "ca", "stranger", "does not accept the certificate of this side"),
        (None, None, "ca", None, "it does not speak TLS"),
        ("server", None, None, None, "expects TLS"),
    ],
)
def test_tls_lets_in_who_may_come_and_says_in_a_sentence_why_not(
    certificates: Path,
    server: str | None,
    client_ca: str | None,
    ca: str | None,
    client: str | None,
    expected: str | None,
) -> None:
    there, here = Notes(), Notes()
    asked = ServerSecurity(
        certificate=certificates / f"{server}.pem" if server else None,
        key=certificates / f"{server}.key" if server else None,
        client_ca=certificates / f"{client_ca}.pem" if client_ca else None,
    )
    shown = ClientSecurity(
        insecure=ca is None,
        ca=certificates / f"{ca}.pem" if ca else None,
        certificate=certificates / f"{client}.pem" if client else None,
        key=certificates / f"{client}.key" if client else None,
    )
    with listening(there, security=asked) as listener:
        if expected is None:
            connect(listener.address, here, shown).send(READY)
            assert there.message() == (READY, None)
            assert there.connection().identity == ("certificate:farm" if client else "")
        else:
            with pytest.raises(DialError, match=expected) as caught:
                connect(listener.address, here, shown)
            assert caught.value.is_final
            assert "\n" not in str(caught.value)


def test_tokens_decide_who_is_let_in_and_are_never_said() -> None:
    there = Notes()
    with listening(there, security=ServerSecurity(tokens=(OTHER_TOKEN, TOKEN))) as listener:
        connect(listener.address, Notes(), ClientSecurity(insecure=True, token=TOKEN))
        identity = there.connection().identity
        assert identity.startswith("token:")
        assert TOKEN not in identity
        for token, expected in (("wrong-token", "this token is not let in"), ("", "a token is needed")):
            with pytest.raises(DialError, match=expected) as caught:
                connect(listener.address, Notes(), ClientSecurity(insecure=True, token=token))
            assert caught.value.is_final
            assert not any(secret in str(caught.value) for secret in (TOKEN, OTHER_TOKEN, "wrong-token"))


def test_files_that_cannot_be_used_are_named_before_anything_listens(certificates: Path) -> None:
    mixed = ServerSecurity(certificate=certificates / "server.pem", key=certificates / "farm.key")
    with pytest.raises(ValueError, match=r"server\.pem, its key or the client CA cannot be used"):
        Listener("127.0.0.1:0", {}, security=mixed)
    missing = ClientSecurity(ca=certificates / "missing.pem")
    with pytest.raises(ValueError, match=r"missing\.pem.*No such file"):
        connect("127.0.0.1:1", Notes(), missing)


# ---------------------------------------------------------------------------------------------- addresses


def test_a_port_in_use_and_a_foreign_address_are_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"^cannot listen at {address}: Address already in use"):
            Listener(address, {}, security=ServerSecurity())
    with pytest.raises(OSError, match=r"^cannot listen at 192\.0\.2\.1:0: Cannot assign"):
        Listener("192.0.2.1:0", {}, security=ServerSecurity())


def test_dialling_where_nobody_listens_may_be_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(DialError, match="nobody listens there") as caught:
        connect(address, Notes())
    assert not caught.value.is_final
    with pytest.raises(DialError, match="no such socket") as caught:
        connect("unix:/nowhere/at/all", Notes())
    assert not caught.value.is_final


def test_what_does_not_answer_in_time_may_be_dialled_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DialError, match=r"nobody answered at .* within 0.3 s") as caught:
            dial(address, SERVICE, Notes(), security=PLAIN, timeout_s=0.3)
        assert not caught.value.is_final


def test_what_is_no_gateway_is_not_dialled_again() -> None:
    class Quiet(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(DialError, match="does not speak gRPC") as caught:
            connect(f"127.0.0.1:{server.server_address[1]}", Notes())
        assert caught.value.is_final
        server.shutdown()
    with listening(Notes()) as listener:
        with pytest.raises(DialError, match=r"has no service outrider\.Other/Stream") as caught:
            dial(listener.address, "outrider.Other/Stream", Notes(), security=PLAIN, timeout_s=5)
        assert caught.value.is_final


def test_health_is_answered_as_probes_ask_for_it() -> None:
    with listening(Notes()) as listener, grpc.insecure_channel(listener.address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=PATIENCE_S) == b"\x08\x01"  # status: SERVING


# ------------------------------------------------------------------------------------------- many of them


def test_two_hundred_connections_leave_no_threads_files_or_memory_behind() -> None:
    there = Notes()
    message = bytes(2**18)

    def connect_and_close(num_times: int) -> None:
        for _ in range(num_times):
            here = Notes()
            connection = connect(listener.address, here)
            connection.send(READY)
            connection.send(announce(len(message)), [message])
            assert [there.message()[0] for _ in range(2)] == [READY, announce(len(message))]
            connection.close()
            here.end()
            there.end()
            there.connection()

    def held() -> tuple[int, int]:
        gc.collect()
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    with listening(there) as listener:
        connect_and_close(50)
        threads, files = held()
        memory_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        connect_and_close(200)
        deadline = time.monotonic() + PATIENCE_S
        while (found := held()) > (threads, files + 4) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert found <= (threads, files + 4)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_kib < 20 * 2**10
        assert RECEIVED.used_bytes == 0
