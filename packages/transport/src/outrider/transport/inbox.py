"""Puts large messages together again, in memory that is used again and again."""

from __future__ import annotations

from dataclasses import dataclass

from outrider.transport.buffer_pool import BufferPool
from outrider.wire import Limits, WireError
from outrider.wire.session import Goodbye
from outrider.wire.stream import read_stream_message


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that is complete."""

    head: bytes
    attachment: memoryview | None = None
    goodbye: Goodbye | None = None


class Inbox:
    """The messages of one stream, one after the other."""

    def __init__(self, limits: Limits, pool: BufferPool, *, is_of_stranger: bool = False) -> None:
        """Take memory from `pool`. A stranger gets some only once it has said who it is."""
        self._is_of_stranger = is_of_stranger
        self._limits = limits
        self._pool = pool
        self._head = b""
        self._attachment: memoryview | None = None
        self._num_bytes = 0

    @property
    def num_bytes_missing(self) -> int:
        """What is still to come of the large message under way; 0 where none is."""
        return 0 if self._attachment is None else len(self._attachment) - self._num_bytes

    def take(self, data: bytes) -> Arrival | None:
        """Read a message, and return it, or what it completes, or None for a heartbeat and most chunks.

        Raises WireError for what is malformed, over a limit, or a chunk too many; the memory for a large
        message is taken only when its size has been checked. Raises MemoryError where the pool has none.
        """
        message = read_stream_message(data, self._limits)
        if message.chunk is not None:
            return self._take_chunk(message.chunk)
        if message.is_heartbeat:
            return None
        if not message.attachment_bytes:
            self._is_of_stranger = False
            return Arrival(data, goodbye=message.goodbye)
        if self._is_of_stranger:
            raise WireError("a large message is announced first; introduce yourself first")
        if self._attachment is not None:
            raise WireError(
                f"a large message is announced while {self.num_bytes_missing} bytes of the one before are "
                "missing; one travels at a time"
            )
        self._attachment = self._pool.take(message.attachment_bytes)
        self._head = data
        self._num_bytes = 0
        return None

    def _take_chunk(self, chunk: memoryview) -> Arrival | None:
        if self._attachment is None or len(chunk) > self.num_bytes_missing:
            raise WireError(
                f"a chunk of {len(chunk)} bytes where {self.num_bytes_missing} were to come; "
                "announce each large message with its size in `attachment_bytes`"
            )
        end = self._num_bytes + len(chunk)
        self._attachment[self._num_bytes : end] = chunk
        self._num_bytes = end
        if end < len(self._attachment):
            return None
        arrival = Arrival(self._head, self._attachment)
        self._attachment = None
        return arrival
