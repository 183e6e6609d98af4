"""Arrays that several processes see, in memory that has no name and goes with the last of them."""

from __future__ import annotations

import math
import mmap
import os
import sys
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ALIGNMENT = 64


class SharedMemory:
    """A file without a name.

    Processes inherit its `descriptor` and allocate the same arrays in the same order.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Make one, or take over an inherited one. Whoever made it has to `reserve` before all others."""
        self.descriptor = _anonymous_file() if descriptor is None else descriptor
        self._memory: mmap.mmap | None = None
        self._used = 0

    def measure(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Count an array that will be allocated, and return a stand-in for it."""
        self._used += _size(shape, dtype)
        return np.zeros(shape, dtype)

    def reserve(self) -> None:
        """Make room for all that was measured."""
        os.ftruncate(self.descriptor, max(self._used, 1))
        self._used = 0

    def allocate(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return the next array; its numbers are zero until somebody writes others."""
        if self._memory is None:
            self._memory = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
        array = np.ndarray(shape, dtype, buffer=self._memory, offset=self._used)
        self._used += _size(shape, dtype)
        return array

    def close(self) -> None:
        """Give the file back; arrays stay as long as somebody holds them."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _anonymous_file() -> int:
    if sys.platform == "linux":
        return os.memfd_create("environments")
    else:  # noqa: RET505 - mypy would take what follows for unreachable
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


def _size(shape: tuple[int, ...], dtype: DTypeLike) -> int:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return -(-max(size, 1) // _ALIGNMENT) * _ALIGNMENT
