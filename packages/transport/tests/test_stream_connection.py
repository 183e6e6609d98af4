from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from outrider.transport import stream_connection
from outrider.transport.buffer_pool import BufferPool
from outrider.transport.connection import Connection
from outrider.transport.stream_connection import StreamConnection
from outrider.wire import Limits, WireError, session
from outrider.wire.session_codec import encode_sample_request
from outrider.wire.stream import HEARTBEAT, chunk_message, goodbye_message, read_stream_message

READY = encode_sample_request(session.Ready())
DONE = goodbye_message(session.Goodbye(reason=session.GoodbyeReason.DONE))


class FakeStream:
    """What the other side sends is put into `incoming`; None ends it, an error breaks it."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[bytes | ConnectionError | None] = asyncio.Queue()
        self.written: list[bytes] = []
        self.is_finished = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.write_error: ConnectionError | None = None
        self.write_s = 0.0

    async def read(self) -> bytes | None:
        found = await self.incoming.get()
        if isinstance(found, ConnectionError):
            raise found
        return found

    async def write(self, message: bytes) -> None:
        if self.write_error is not None:
            raise self.write_error
        await self.gate.wait()
        self.written.append(message)
        await asyncio.sleep(self.write_s)

    async def finish(self) -> None:
        self.is_finished = True


class Notes:
    """A receiver that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.error: Exception | None = None

    def opened(self, connection: Connection) -> None:
        self.told.append("opened")

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        if self.error is not None:
            raise self.error
        self.told.append((head, attachment if attachment is None else bytes(attachment)))

    def closed(self, connection: Connection, reason: str) -> None:
        self.told.append(reason)


Scene = Callable[[StreamConnection, FakeStream], Awaitable[None]]


def play(scene: Scene, receiver: Notes | None = None, **settings: Any) -> tuple[FakeStream, Notes]:
    """Run a connection until it ends, with `scene` as its other side and its user."""
    notes = receiver or Notes()

    async def run() -> FakeStream:
        stream = FakeStream()
        connection = StreamConnection(stream, notes, peer="peer", limits=Limits(), **settings)
        running = asyncio.create_task(connection.run())
        await asyncio.sleep(0)
        await asyncio.wait_for(scene(connection, stream), 5)
        await asyncio.wait_for(running, 5)
        return stream

    return asyncio.run(run()), notes


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  (what is waited for belongs to what is tested)
        await asyncio.sleep(0)


def test_what_comes_is_received_until_the_other_side_says_goodbye() -> None:
    async def scene(_: StreamConnection, stream: FakeStream) -> None:
        for message in (READY, HEARTBEAT, DONE, None):
            stream.incoming.put_nowait(message)

    _, notes = play(scene)
    assert notes.told == ["opened", (READY, None), (DONE, None), "the other side closed the connection"]


def test_an_end_without_a_goodbye_and_a_break_are_called_so() -> None:
    for end, expected in (
        (None, "the connection ended without a goodbye"),
        (ConnectionError("the line is cut"), "the line is cut"),
    ):

        async def scene(_: StreamConnection, stream: FakeStream, end: Any = end) -> None:
            stream.incoming.put_nowait(end)

        _, notes = play(scene)
        assert notes.told == ["opened", expected]


@pytest.mark.parametrize("end", [None, ConnectionError("the line is cut")])
def test_a_connection_that_breaks_because_this_process_stood_still_is_said_to(
    end: ConnectionError | None,
) -> None:
    terms = session.Terms(heartbeat_interval_s=0.01, silence_timeout_s=0.05)

    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        connection.keep(terms)
        stream.incoming.put_nowait(end)
        time.sleep(0.1)  # noqa: ASYNC251 - stands still

    _, notes = play(scene)
    how = end or "the connection ended without a goodbye"
    assert re.fullmatch(rf"this process stood still for \d s; then {how}", notes.told[1])


def test_who_listens_and_stood_still_says_so_of_calls_that_are_gone() -> None:
    terms = session.Terms(heartbeat_interval_s=0.01, silence_timeout_s=0.05)
    notes = Notes()

    async def run() -> None:
        connection = StreamConnection(FakeStream(), notes, peer="peer", limits=Limits())
        running = asyncio.create_task(connection.run())
        await asyncio.sleep(0)
        connection.keep(terms)
        time.sleep(0.1)  # noqa: ASYNC251 - stands still
        running.cancel()  # as gRPC does
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(run())
    assert re.fullmatch(r"this process stood still for \d s; then the connection broke", notes.told[1])


def test_messages_of_other_threads_are_written_in_their_order() -> None:
    messages = [encode_sample_request(session.Leaving(str(number))) for number in range(100)]

    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        thread = threading.Thread(target=lambda: [connection.send(message) for message in messages])
        thread.start()
        await until(lambda: len(stream.written) == 100)
        thread.join()
        connection.close()

    stream, _ = play(scene)
    assert stream.written == messages
    assert stream.is_finished


def test_nothing_is_received_after_this_side_has_closed() -> None:
    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        stream.incoming.put_nowait(READY)
        connection.close(DONE)
        connection.send(READY)
        connection.close(READY)

    stream, notes = play(scene)
    assert stream.written == [DONE]
    assert notes.told == ["opened", "this side closed the connection"]


def test_a_close_waits_no_longer_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_connection, "CLOSE_TIMEOUT_S", 0.01)

    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        stream.gate.clear()
        connection.send(READY)
        connection.close(DONE)

    stream, notes = play(scene)
    assert stream.written == []
    assert notes.told == ["opened", "this side closed the connection"]


def test_a_close_goes_on_while_the_peer_takes_what_was_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_connection, "CLOSE_TIMEOUT_S", 0.2)

    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        stream.write_s = 0.04
        for _ in range(7):
            connection.send(READY)
        connection.close(DONE)

    stream, _ = play(scene)
    assert stream.written == [*[READY] * 7, DONE]


def test_a_close_ends_some_time_however_slowly_the_peer_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_connection, "CLOSE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(stream_connection, "LONGEST_CLOSE_S", 0.1)

    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        stream.write_s = 0.04
        for _ in range(7):
            connection.send(READY)
        connection.close(DONE)

    stream, _ = play(scene)
    assert DONE not in stream.written


@pytest.mark.parametrize(
    ("error", "reason", "sentence"),
    [
        (WireError("rewards hold NaN"), session.GoodbyeReason.MISBEHAVED, "rewards hold NaN"),
        (KeyError("a mistake of ours"), session.GoodbyeReason.FAILED, "its log says why"),
    ],
)
def test_a_receiver_that_fails_ends_the_connection_with_a_goodbye(
    error: Exception, reason: session.GoodbyeReason, sentence: str
) -> None:
    async def scene(_: StreamConnection, stream: FakeStream) -> None:
        stream.incoming.put_nowait(READY)

    notes = Notes()
    notes.error = error
    stream, _ = play(scene, notes)
    goodbye = read_stream_message(stream.written[-1]).goodbye
    assert goodbye is not None
    assert goodbye.reason is reason
    assert sentence in goodbye.sentence
    assert sentence in notes.told[-1]


@pytest.mark.parametrize(
    ("message", "broke_rule"), [(b"\xff", True), (chunk_message([b"x"]), True), (DONE, False)]
)
def test_who_sends_what_is_no_message_has_broken_a_rule(message: bytes, *, broke_rule: bool) -> None:
    connections = []

    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        connections.append(connection)
        stream.incoming.put_nowait(message)
        stream.incoming.put_nowait(None)

    play(scene)
    assert [each.broke_rule for each in connections] == [broke_rule]


def test_a_message_that_there_is_no_memory_for_may_come_later() -> None:
    async def scene(_: StreamConnection, stream: FakeStream) -> None:
        stream.incoming.put_nowait(encode_sample_request(session.FragmentDelivery(1), attachment_bytes=11))

    stream, _ = play(scene, pool=BufferPool(max_bytes=10))
    goodbye = read_stream_message(stream.written[-1]).goodbye
    assert goodbye is not None
    assert goodbye.reason is session.GoodbyeReason.LATER
    assert "no memory for this message now" in goodbye.sentence


def test_a_goodbye_that_came_before_a_failed_write_is_received(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_connection, "CLOSE_TIMEOUT_S", 5.0)

    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        stream.write_error = ConnectionError("broken pipe")
        connection.send(READY)
        await asyncio.sleep(0.01)
        stream.incoming.put_nowait(DONE)
        stream.incoming.put_nowait(None)

    _, notes = play(scene)
    assert notes.told[1:] == [(DONE, None), "the other side closed the connection"]


def test_what_was_said_before_a_failed_write_is_received_as_long_as_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_connection, "CLOSE_TIMEOUT_S", 0.2)

    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        stream.write_error = ConnectionError("broken pipe")
        connection.send(READY)
        for _ in range(7):
            await asyncio.sleep(0.04)
            stream.incoming.put_nowait(READY)
        stream.incoming.put_nowait(DONE)
        stream.incoming.put_nowait(None)

    _, notes = play(scene)
    assert notes.told[1:] == [*[(READY, None)] * 7, (DONE, None), "the other side closed the connection"]


def test_heartbeats_go_out_while_nothing_else_does() -> None:
    terms = session.Terms(heartbeat_interval_s=0.01, silence_timeout_s=60)

    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        connection.keep(terms)
        await until(lambda: len(stream.written) >= 3)
        connection.close()

    stream, _ = play(scene)
    assert set(stream.written) == {HEARTBEAT}


def test_a_peer_that_writes_is_heard_and_one_that_does_not_is_given_up() -> None:
    terms = session.Terms(heartbeat_interval_s=0.02, silence_timeout_s=0.1)

    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        connection.keep(terms)
        for _ in range(10):
            stream.incoming.put_nowait(HEARTBEAT)
            await asyncio.sleep(0.02)
        assert notes.told == ["opened"]

    notes = Notes()
    play(scene, notes)
    assert notes.told[1] == "nothing was heard of peer for 0.1 s"


def test_a_peer_that_does_not_read_is_given_no_pile_of_heartbeats() -> None:
    terms = session.Terms(heartbeat_interval_s=0.005, silence_timeout_s=60)

    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        stream.gate.clear()
        connection.send(READY)
        connection.keep(terms)
        await asyncio.sleep(0.05)
        connection.close(DONE)
        stream.gate.set()

    stream, _ = play(scene)
    assert stream.written == [READY, DONE]


def test_a_peer_that_never_reads_is_given_up() -> None:
    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        stream.gate.clear()
        for _ in range(stream_connection.MAX_QUEUED + 1):
            connection.send(READY)
        await asyncio.sleep(0)
        assert notes.told == ["opened"]
        connection.send(READY)
        connection.send(READY)

    notes = Notes()
    play(scene, notes)
    assert notes.told[1] == "peer does not read what it is sent: 10000 messages wait"


MIB = bytes(2**20)
LARGE = encode_sample_request(session.FragmentDelivery(1), attachment_bytes=len(MIB))


def test_one_that_dialled_and_lets_large_messages_wait_is_cut_off_and_told_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_connection, "CLOSE_TIMEOUT_S", 0.01)
    connections = []

    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        connections.append(connection)
        stream.gate.clear()
        for _ in range(16):
            connection.send(LARGE, [MIB])
        await asyncio.sleep(0)
        assert notes.told == ["opened"]
        for _ in range(100):
            connection.send(LARGE, [MIB])
            await asyncio.sleep(0)
        assert connection.num_bytes_to_send == 0

    notes = Notes()
    play(scene, notes, first_message_timeout_s=5.0)
    assert "peer was cut off: 17 MiB wait that it was sent and does not read; read on" in notes.told[-1]
    assert connections[0].broke_rule


def test_one_that_dialled_and_reads_slowly_gets_all_that_it_is_sent() -> None:
    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        for _ in range(40):
            stream.gate.clear()
            connection.send(LARGE, [MIB])
            await asyncio.sleep(0)
            assert connection.num_bytes_to_send == len(MIB)
            stream.gate.set()
            await until(lambda: not connection.num_bytes_to_send)
        connection.close(DONE)

    stream, notes = play(scene, first_message_timeout_s=5.0)
    assert sum(message == LARGE for message in stream.written) == 40
    assert notes.told[-1] == "this side closed the connection"


def test_whoever_dials_may_send_as_much_as_it_likes() -> None:
    async def scene(connection: StreamConnection, stream: FakeStream) -> None:
        stream.gate.clear()
        for _ in range(40):
            connection.send(LARGE, [MIB])
            await asyncio.sleep(0)
        stream.gate.set()
        connection.close(DONE)

    stream, _ = play(scene)
    assert sum(message == LARGE for message in stream.written) == 40


def test_a_large_message_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outrider.transport.liveness.PACE_WINDOW_S", 0.02)

    async def scene(_: StreamConnection, stream: FakeStream) -> None:
        head = encode_sample_request(session.FragmentDelivery(1), attachment_bytes=10**6)
        stream.incoming.put_nowait(head)
        stream.incoming.put_nowait(chunk_message([b"x"]))

    _, notes = play(scene)
    assert "999999 bytes of a large message are missing" in notes.told[-1]
