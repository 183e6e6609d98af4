"""Lets large tensors lie in large pages of memory."""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

NUM_BYTES = 8 << 20
"""Of a tensor for which it is worth asking: four pages of 2 MB."""


def in_large_pages(tensor: Tensor) -> Tensor:
    """Ask the system for large pages behind a tensor that nothing was written to yet, and return it.

    Weights and moments of a thousand policies come from memory in every step, and a processor looks up where
    each page of 4 kB is. A step of Adam over 9.8 million numbers on a core of a virtual AMD EPYC: 7.7 ms, 6.0
    with pages of 2 MB. Where the system gives none, nothing changes.
    """
    advise = _madvise()
    if advise is None or tensor.device.type != "cpu" or tensor.nbytes < NUM_BYTES:
        return tensor
    first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    stop = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    advise(ctypes.c_void_p(first), ctypes.c_size_t(stop - first), mmap.MADV_HUGEPAGE)
    return tensor


@cache
def _madvise() -> Callable[..., int] | None:
    """Find the system's call; Python's own is for memory that it mapped itself."""
    if sys.platform != "linux" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    found: Callable[..., int] = ctypes.CDLL(None).madvise
    return found
