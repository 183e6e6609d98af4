"""Connections over gRPC between real sockets: messages, ends, addresses, and many of them."""

from __future__ import annotations

import gc
import os
import resource
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import pytest

from outrider.testing.noted_connections import (
    PATIENCE_S,
    PLAIN,
    READY,
    SERVICE,
    Notes,
    announce,
    connect,
    listening,
)
from outrider.transport.buffer_pool import RECEIVED
from outrider.transport.connection import Connection, DialError
from outrider.transport.grpc_dialer import dial
from outrider.transport.grpc_listener import Listener
from outrider.transport.security import ServerSecurity
from outrider.wire import WireError, session
from outrider.wire.session_codec import encode_sample_request
from outrider.wire.stream import goodbye_message
from own_ports import free_port


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
    address = f"127.0.0.1:{free_port()}"
    with listening(there, address) as listener:
        connect(listener.address, here).send(READY)
        there.message()
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


def test_a_port_in_use_and_a_foreign_address_are_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"^cannot listen at {address}: Address already in use"):
            Listener(address, {}, security=ServerSecurity())
    with pytest.raises(OSError, match=r"^cannot listen at 192\.0\.2\.1:0: Cannot assign"):
        Listener("192.0.2.1:0", {}, security=ServerSecurity())


def test_dialling_where_nobody_listens_may_be_tried_again() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(DialError, match="nobody listens there") as caught:
            connect(f"127.0.0.1:{unused.getsockname()[1]}", Notes())
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
