"""Cuts large messages into the chunks that carry them: once for all connections that send the same one.

    connection 1   [0] [1] [2] [3] ->          is the first to want a chunk, and has it cut
    connection 2   [0] [1] ->                  gets the same bytes, unless it is far behind

Weights for many runners are read from memory and copied once, and not once for each.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from weakref import WeakValueDictionary

from outrider.wire import Bytes
from outrider.wire.stream import chunk_message

NUM_KEPT = 16
"""Chunks that are kept for connections which are behind."""


def chunks(pieces: Sequence[Bytes], chunk_bytes: int) -> Iterator[bytes]:
    """Yield the messages that carry `pieces`, which must not change meanwhile.

    Those who are given the very same sequence share its chunks.
    """
    key = id(pieces), chunk_bytes
    cut = _under_way.get(key)
    if cut is None:
        cut = _under_way[key] = _Cut(pieces, chunk_bytes)
    cut.num_takers += 1
    try:
        for index in range(cut.num_chunks):
            yield cut.chunk(index)
    finally:
        cut.num_takers -= 1


class _Cut:
    """A large message under way."""

    def __init__(self, pieces: Sequence[Bytes], chunk_bytes: int) -> None:
        self.num_takers = 0
        self._pieces = pieces  # while it lives, nothing else has its id
        self._chunk_bytes = chunk_bytes
        self._views = [memoryview(piece).cast("B") for piece in pieces]
        self._ends = list(accumulate(map(len, self._views)))
        self._kept: dict[int, bytes] = {}
        self.num_chunks = -(-self._ends[-1] // chunk_bytes)

    def chunk(self, index: int) -> bytes:
        found = self._kept.get(index)
        if found is None:
            found = chunk_message(self._between(index * self._chunk_bytes))
            if self.num_takers > 1:  # a chunk that is freed at once leaves memory that is still in the cache
                self._kept[index] = found
                if len(self._kept) > NUM_KEPT:
                    self._kept.pop(next(iter(self._kept)), None)
        return found

    def _between(self, start: int) -> list[memoryview]:
        """Return what lies in the chunk that starts there."""
        room = self._chunk_bytes
        found = []
        number = bisect_right(self._ends, start)
        offset = start - (self._ends[number] - len(self._views[number]))
        while room and number < len(self._views):
            part = self._views[number][offset : offset + room]
            room -= len(part)
            if len(part):
                found.append(part)
            number, offset = number + 1, 0
        return found


_under_way: WeakValueDictionary[tuple[int, int], _Cut] = WeakValueDictionary()
