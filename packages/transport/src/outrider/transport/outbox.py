"""What a connection still has to send: small messages first, and large ones in chunks after them.

    put(head) put(head, pieces) put(head)   ->   take(): head, head, head + pieces: chunk, chunk, chunk

A small message that is put while a large one is under way is taken before its next chunk.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from outrider.transport.chunk_size import ChunkSize
from outrider.transport.chunks import chunks
from outrider.wire import Bytes
from outrider.wire.stream import read_stream_message

MAX_WAITING = 8
"""Large messages, each as large as the largest so far, that may wait for a peer. The largest are weights, of
which two wait at most for who reads; policies that it asked for, a state and other policies may join it."""
MIN_WAITING_BYTES = 16 * 2**20
"""So much may wait in any case."""


class Outbox:
    """A queue with one taker. Messages may be put by any thread."""

    def __init__(self, chunk_size: Callable[[int], int] | None = None) -> None:
        self._chunk_size = chunk_size or ChunkSize()
        self._small: deque[bytes] = deque()
        self._large: deque[tuple[bytes, Sequence[Bytes]]] = deque()
        self._chunks: Iterator[bytes] | None = None
        self._num_bytes_under_way = 0
        self._last: bytes | None = None
        self._is_closed = False
        self._is_taker_waiting = False
        self._lock = threading.Lock()
        self.num_large_bytes = 0
        """Of large messages: those that wait, and the one under way until all of it was taken."""
        self._largest_bytes = 0
        """Of the largest message that was ever put."""

    @property
    def is_too_full(self) -> bool:
        """Whether more waits than for a peer that reads, however slowly."""
        return self.num_large_bytes > max(MAX_WAITING * self._largest_bytes, MIN_WAITING_BYTES)

    @property
    def num_small(self) -> int:
        """How many small messages wait."""
        return len(self._small)

    @property
    def is_waiting(self) -> bool:
        """Whether all was taken and the taker waits for more."""
        return self._is_taker_waiting

    @property
    def is_closed(self) -> bool:
        """Whether nothing more is let in."""
        return self._is_closed

    @property
    def is_done(self) -> bool:
        """Whether it was closed and all was taken."""
        return self._is_closed and not (self._small or self._large or self._chunks or self._last)

    def put(self, head: bytes, attachment: Sequence[Bytes] = ()) -> bool:
        """Queue a message and tell whether the taker waits and must be woken.

        After `close` this does nothing. Raises ValueError where the head announces another size than is
        attached: the other side would wait for the rest.
        """
        num_bytes = _check_announced(head, attachment) if attachment else 0
        with self._lock:
            if self._is_closed:
                return False
            if attachment:
                self._large.append((head, attachment))
                self.num_large_bytes += num_bytes
                self._largest_bytes = max(self._largest_bytes, num_bytes)
            else:
                self._small.append(head)
            return self._wake()

    def close(self, last: bytes = b"", *, at_once: bool = False) -> bool:
        """Let nothing more in but `last`, which is taken after all that is queued; return as `put`.

        `at_once` throws away what is queued.
        """
        with self._lock:
            if self._is_closed:
                return False
            self._is_closed = True
            self._last = last or None
            if at_once:
                self._small.clear()
                self._large.clear()
                self._chunks = None
                self.num_large_bytes = self._num_bytes_under_way = 0
            return self._wake()

    def take(self) -> bytes | None:
        """Return what to send next. None: nothing now, and the taker waits for a `put` that returns True."""
        with self._lock:
            if self._small:
                return self._small.popleft()
            under_way = self._chunks
        if under_way is not None:
            chunk = next(under_way, None)  # copies: without the lock, which those who put wait for
            if chunk is not None:
                return chunk
        with self._lock:
            self._chunks = None
            self.num_large_bytes -= self._num_bytes_under_way
            self._num_bytes_under_way = 0
            if self._small:
                return self._small.popleft()
            if self._large:
                head, attachment = self._large.popleft()
                self._chunks = chunks(attachment, self._chunk_size)
                self._num_bytes_under_way = _size_bytes(attachment)
                return head
            if self._last is not None:
                last, self._last = self._last, None
                return last
            self._is_taker_waiting = True
            return None

    def _wake(self) -> bool:
        was_waiting, self._is_taker_waiting = self._is_taker_waiting, False
        return was_waiting


def _size_bytes(attachment: Sequence[Bytes]) -> int:
    return sum(memoryview(piece).nbytes for piece in attachment)


def _check_announced(head: bytes, attachment: Sequence[Bytes]) -> int:
    """Return the size of what is attached. Raises ValueError where the head says another."""
    announced = read_stream_message(head).attachment_bytes
    attached = _size_bytes(attachment)
    if announced != attached or not attached:
        raise ValueError(
            f"the head announces attachment_bytes={announced} and {attached} are attached; "
            "encode it with the size of what is attached, or attach nothing"
        )
    return attached
