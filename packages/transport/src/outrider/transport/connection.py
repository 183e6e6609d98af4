"""A connection to a peer in another process, over which small messages and large ones travel.

    send(b"small")                      one gRPC message
    send(b"head", [array, array])       the head, and after it the pieces of what is attached, in chunks

Messages arrive in the order in which they were sent, except that what has nothing attached overtakes the
chunks of what has: an acknowledgement does not wait behind 100 MB of weights. Heartbeats are sent and
answered here; whoever uses a connection never sees one.

The network has a thread of its own, the same for all connections of a process. It calls the receiver,
which returns at once: whatever takes longer than a few milliseconds is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from outrider.wire import Bytes
from outrider.wire.session import Terms


class Connection(Protocol):
    """One stream. Safe to use from any thread."""

    @property
    def peer(self) -> str:
        """Address of the other side, for messages to people."""
        ...

    @property
    def identity(self) -> str:
        """Whom the other side has proved to be: of its certificate or its token, never the token itself.

        Empty where nothing was asked for.
        """
        ...

    @property
    def num_bytes_to_send(self) -> int:
        """Bytes of large messages that wait to be sent, that which is under way included.

        A peer that dialled and lets too many wait is cut off (`outbox.MAX_WAITING`).
        """
        ...

    @property
    def broke_rule(self) -> bool:
        """Whether the other side was cut off here, because it sent too much, too slowly, or no message.

        Or because it does not read what it is sent.
        """
        ...

    def send(self, head: bytes, attachment: Sequence[Bytes] = ()) -> None:
        """Send a stream message, with the pieces of a large one attached; returns at once.

        `head` says the attachment's size in its field `attachment_bytes`. The pieces must not change
        until they are sent, which holds for frames that nobody writes to. On a connection that is closed
        this does nothing: `closed` was called, or is about to be.
        """
        ...

    def keep(self, terms: Terms) -> None:
        """Send heartbeats as the terms say, and close where the other side is silent for too long."""
        ...

    def close(self, last: bytes = b"") -> None:
        """Send what is queued and then `last`, as long as the other side takes it, and close.

        For at most 10 s, and without pauses of a second. `closed` follows once.
        """
        ...


class Receiver(Protocol):
    """What is called, always by the network's thread, one call after the other."""

    def opened(self, connection: Connection) -> None:
        """Take a connection that is up; the other calls are about it from here on."""
        ...

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        """Take a message, complete with what is attached.

        The attachment's memory is the receiver's until its last view is gone; then it is used again.
        Raising WireError closes the connection with a goodbye that says so.
        """
        ...

    def closed(self, connection: Connection, reason: str) -> None:
        """Note that nothing more comes, whoever closed it; `reason` is a sentence.

        A goodbye of the other side came through `received` before.
        """
        ...


class DialError(ConnectionError):
    """Raised where a peer could not be dialled. The sentence says who did not answer, or refused, and why."""

    def __init__(self, sentence: str, *, is_final: bool) -> None:
        super().__init__(sentence)
        self.is_final = is_final
        """Whether dialling again in the same way cannot help: a wrong token, a certificate that is not
        trusted or has expired, no such service."""
