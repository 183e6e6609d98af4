"""Peers that break the rules of gRPC's streams: each costs its own connection and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import grpc
import pytest

from outrider.testing.noted_connections import (
    PATIENCE_S,
    READY,
    SERVICE,
    Notes,
    announce,
    connect,
    listening,
)
from outrider.transport import grpc_listener, liveness
from outrider.transport.buffer_pool import RECEIVED
from outrider.transport.connection import DialError
from outrider.transport.security import ClientSecurity, ServerSecurity
from outrider.wire import Limits, session
from outrider.wire.stream import chunk_message, read_stream_message

TOKEN, OTHER_TOKEN = "a-secret-that-nobody-prints", "another-secret"


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
