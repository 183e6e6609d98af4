"""Cuts large messages into the chunks that carry them: once for all connections that send the same one.

    connection 1   [0] [1] [2] [3] ->          is the first to want a chunk, and has it cut
    connection 2   [0] [1] ->                  gets the same bytes, unless it is far behind

Weights for many runners are read from memory and copied once, and not once for each.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from weakref import WeakValueDictionary

from outrider.wire import Bytes
from outrider.wire.stream import chunk_message

NUM_KEPT = 16
"""Chunks that are kept for connections which are behind."""


def chunks(pieces: Sequence[Bytes], chunk_bytes: Callable[[int], int]) -> Iterator[bytes]:
    """Yield the messages that carry `pieces`, which must not change meanwhile.

    Each ends at a multiple of its size, or with the last piece; `chunk_bytes` says it, given what is left.
    Those who are given the very same sequence share the chunks that are alike.
    """
    cut = _under_way.get(id(pieces))
    if cut is None:
        cut = _under_way[id(pieces)] = _Cut(pieces)
    cut.num_takers += 1
    start = 0
    try:
        while start < cut.num_bytes:
            size = chunk_bytes(cut.num_bytes - start)
            end = min(start - start % size + size, cut.num_bytes)
            yield cut.chunk(start, end)
            start = end
    finally:
        cut.num_takers -= 1


class _Cut:
    """A large message under way."""

    def __init__(self, pieces: Sequence[Bytes]) -> None:
        self.num_takers = 0
        self._pieces = pieces  # while it lives, nothing else has its id
        self._views = [memoryview(piece).cast("B") for piece in pieces]
        self._ends = list(accumulate(map(len, self._views)))
        self._kept: dict[tuple[int, int], bytes] = {}
        self.num_bytes = self._ends[-1]

    def chunk(self, start: int, end: int) -> bytes:
        found = self._kept.get((start, end))
        if found is None:
            found = chunk_message(self._between(start, end - start))
            if self.num_takers > 1:  # a chunk that is freed at once leaves memory that is still in the cache
                self._kept[start, end] = found
                if len(self._kept) > NUM_KEPT:
                    self._kept.pop(next(iter(self._kept)), None)
        return found

    def _between(self, start: int, room: int) -> list[memoryview]:
        """Return the next `room` bytes from `start` on."""
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


_under_way: WeakValueDictionary[int, _Cut] = WeakValueDictionary()
