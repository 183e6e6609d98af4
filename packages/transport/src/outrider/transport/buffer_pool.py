"""Memory for large messages, used again when nobody looks at it any more.

Touching fresh memory costs several times what copying into it does, because the system hands it out page
by page and takes it back on every free: 64 MiB take 8 ms to copy into memory that is warm, 36 to 40 ms
otherwise (measured on one core).
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
"""Of the first byte, as frames are laid out for."""
_MIN_POOLED_BYTES = 64 * 2**10
"""What is smaller comes warm from the allocator."""


class BufferPool:
    """Hands out memory and takes it back by itself. Safe to use from any thread."""

    def __init__(self, *, max_idle_bytes: int = 512 * 2**20, max_bytes: int | None = None) -> None:
        """Keep at most `max_idle_bytes` for later; have at most `max_bytes` in use (None: half of all)."""
        self.max_idle_bytes = max_idle_bytes
        self._max_bytes = _half_of_memory() if max_bytes is None else max_bytes
        self._idle: OrderedDict[int, list[NDArray[np.uint8]]] = OrderedDict()
        self._idle_bytes = 0
        self._used_bytes = 0
        # A view may die, and `_give_back` be called, wherever Python collects garbage: also in here.
        self._lock = threading.RLock()

    @property
    def idle_bytes(self) -> int:
        """What is kept for later."""
        return self._idle_bytes

    @property
    def used_bytes(self) -> int:
        """What is handed out and was not given back."""
        return self._used_bytes

    def take(self, size_bytes: int) -> memoryview:
        """Return memory with any content, which comes back when the last view of it is gone.

        Slices of the view, and arrays made of it, are views too. Raises MemoryError where too much is in
        use already.
        """
        room = _room(size_bytes)
        with self._lock:
            if self._used_bytes + room > self._max_bytes:
                raise MemoryError(
                    f"{size_bytes} bytes are wanted, and {self._used_bytes} of the {self._max_bytes} that "
                    "may be taken for messages are in use"
                )
            self._used_bytes += room
            shelf = self._idle.get(room)
            buffer = shelf.pop() if shelf else None
            if buffer is not None:
                self._idle_bytes -= room
                self._idle.move_to_end(room)
        if buffer is None:
            buffer = np.empty(room + ALIGNMENT, np.uint8)
        start = -buffer.ctypes.data % ALIGNMENT
        # Every view of the memory holds this array, and nothing else does: it dies with the last of them.
        # It must not be a slice of `buffer`: `np.ndarray(shape, dtype, view)` would look through both, hold
        # `buffer`, and stay behind when the memory is handed out again.
        lent = np.frombuffer(buffer.data[start : start + size_bytes], np.uint8)
        weakref.finalize(lent, self._give_back, buffer, room).atexit = False
        return lent.data

    def _give_back(self, buffer: NDArray[np.uint8], room: int) -> None:
        dropped: list[Any] = []  # freed without the lock
        with self._lock:
            self._used_bytes -= room
            if room < _MIN_POOLED_BYTES or room > self.max_idle_bytes:
                return
            self._idle.setdefault(room, []).append(buffer)
            self._idle.move_to_end(room)
            self._idle_bytes += room
            while self._idle_bytes > self.max_idle_bytes:
                size, shelf = next(iter(self._idle.items()))
                if shelf:
                    dropped.append(shelf.pop())
                    self._idle_bytes -= size
                if not shelf:
                    self._idle.pop(size, None)


def _room(size_bytes: int) -> int:
    """Round up, by at most an eighth, so that messages of nearly the same size share memory."""
    if size_bytes < _MIN_POOLED_BYTES:
        return size_bytes
    step = 1 << max(size_bytes.bit_length() - 4, 0)
    return -(-size_bytes // step) * step


def _half_of_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


RECEIVED = BufferPool()
"""Where connections of this process put what they receive."""
