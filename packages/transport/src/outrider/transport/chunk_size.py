"""How large the chunks of one connection are: small until its line has shown that it is fast.

    32 KiB x 64, in 0.2 s   ->   1 MiB, 1 MiB, ...          a machine beside this one
    32 KiB x 64, in 34 s    ->   32 KiB, 32 KiB, ...        a line of 60 KiB/s

The other side hears of a chunk when it is complete. One of 1 MiB takes longer on a slow line than the
silence that is put up with. How long gRPC takes to take one says little: the system's buffers hide what
they have room for: 1 MiB where a slow line was imitated on one machine.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from outrider.wire.stream import MAX_CHUNK_BYTES

SMALL_CHUNK_BYTES = 32 * 2**10
PROOF_BYTES, PROOF_S = 2 * 2**20, 8.0
"""Whoever sends so many bytes in so long sends chunks of 1 MiB: they take 8 s at most, also where buffers
hid half of those bytes. Who has less to send pays for 8 small ones a second."""


class ChunkSize:
    """Says the size of each chunk when it is about to be cut."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._chunk_bytes = SMALL_CHUNK_BYTES
        self._num_bytes = 0
        self._since = 0.0

    def __call__(self, num_bytes_left: int) -> int:
        """Return the size of the next one, of a message of which so much is to be sent."""
        now = self._clock()
        if self._num_bytes >= PROOF_BYTES:
            self._chunk_bytes = MAX_CHUNK_BYTES if now - self._since <= PROOF_S else SMALL_CHUNK_BYTES
            self._num_bytes = 0
        if not self._num_bytes:
            self._since = now
        self._num_bytes += min(self._chunk_bytes, num_bytes_left)
        return self._chunk_bytes
