"""Receivers that note down what connections over gRPC bring, and who listens and dials for them."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from outrider.transport.connection import Connection, Receiver
from outrider.transport.security import ClientSecurity, ServerSecurity
from outrider.wire import session
from outrider.wire.session_codec import encode_sample_request
from outrider.wire.stream import read_stream_message

if TYPE_CHECKING:
    from outrider.transport.grpc_listener import Listener

SERVICE = "outrider.wire.v1.RunnerService/Sample"
READY = encode_sample_request(session.Ready())
PLAIN = ClientSecurity(insecure=True)
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
def listening(receiver: Receiver, address: str = "127.0.0.1:0", **settings: Any) -> Iterator[Listener]:  # noqa: ANN401 - those of Listener
    """Listen for `receiver`, at a port that the system chooses, until the block ends."""
    from outrider.transport.grpc_listener import Listener

    settings.setdefault("security", ServerSecurity())
    listener = Listener(address, {SERVICE: receiver}, **settings)
    try:
        yield listener
    finally:
        listener.close()


def connect(address: str, receiver: Notes, security: ClientSecurity = PLAIN) -> Connection:
    """Dial `address`, and stay connected until this side or the other closes."""
    from outrider.transport.grpc_dialer import dial

    return dial(address, SERVICE, receiver, security=security, timeout_s=PATIENCE_S)


def announce(size_bytes: int) -> bytes:
    """Return a message that a large one of so many bytes follows."""
    return encode_sample_request(session.FragmentDelivery(1), attachment_bytes=size_bytes)
