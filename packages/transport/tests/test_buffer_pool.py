from __future__ import annotations

import gc
import threading
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from outrider.transport.buffer_pool import ALIGNMENT, BufferPool

SIZE = 2**20


def address(view: memoryview) -> int:
    return int(np.frombuffer(view, np.uint8).ctypes.data)


def test_memory_is_used_again_when_its_last_view_is_gone() -> None:
    pool = BufferPool()
    first = pool.take(SIZE)
    where = address(first)
    del first
    assert pool.used_bytes == 0
    assert address(pool.take(SIZE)) == where


def test_a_slice_of_a_view_keeps_the_memory() -> None:
    pool = BufferPool()
    view = memoryview(memoryview(pool.take(SIZE))[100:200]).toreadonly()[5:6].cast("B")
    assert pool.used_bytes == SIZE
    del view
    assert pool.used_bytes == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda view: np.frombuffer(view[64:], np.float32).reshape(-1, 4)[10:20, 1],
        lambda view: np.ndarray((10,), np.float32, view[64:104]),
        lambda view: np.ndarray((2, 5), np.float32, view[64:104].toreadonly()).T[1:],
        lambda view: np.asarray(view)[3:].astype(np.uint8, copy=False),
        lambda view: np.asarray(np.asarray(view).data)[::2],
    ],
)
def test_an_array_keeps_the_memory_however_it_is_made(
    make: Callable[[memoryview], NDArray[np.generic]],
) -> None:
    pool = BufferPool()
    array = make(pool.take(SIZE))
    gc.collect()
    assert pool.used_bytes == SIZE
    assert not np.shares_memory(np.frombuffer(pool.take(SIZE), np.uint8), array)
    del array
    assert pool.used_bytes == 0


def test_messages_of_nearly_the_same_size_share_memory_and_never_more_than_an_eighth_is_wasted() -> None:
    pool = BufferPool()
    view = pool.take(SIZE - 1000)
    assert len(view) == SIZE - 1000
    where = address(view)
    del view
    assert address(pool.take(SIZE - 5)) == where
    for size in (2**16, 2**16 + 1, 100_000, 2**20 - 1, 2**24 + 1):
        held = pool.take(size)
        assert len(held) <= pool.used_bytes <= size * 9 / 8
        del held


def test_memory_begins_where_frames_want_it() -> None:
    pool = BufferPool()
    assert [address(pool.take(size)) % ALIGNMENT for size in (1, 1000, SIZE, SIZE + 1)] == [0] * 4


def test_no_more_is_kept_for_later_than_allowed_and_the_oldest_goes_first() -> None:
    pool = BufferPool(max_idle_bytes=3 * SIZE)
    held = [pool.take(SIZE), pool.take(2 * SIZE), pool.take(SIZE)]
    while held:
        held.pop(0)
    assert pool.idle_bytes <= 3 * SIZE
    assert pool.used_bytes == 0


def test_small_memory_is_not_kept() -> None:
    pool = BufferPool()
    pool.take(1000)
    assert (pool.idle_bytes, pool.used_bytes) == (0, 0)


def test_no_more_is_in_use_than_allowed() -> None:
    pool = BufferPool(max_bytes=2 * SIZE)
    held = pool.take(SIZE)
    with pytest.raises(MemoryError, match=f"{SIZE} of the {2 * SIZE} that may be taken"):
        pool.take(SIZE + 1)
    del held
    assert len(pool.take(2 * SIZE)) == 2 * SIZE


def test_memory_may_come_back_in_any_thread() -> None:
    pool = BufferPool(max_bytes=64 * SIZE)

    def take_and_drop() -> None:
        for _ in range(200):
            first, second = pool.take(SIZE), pool.take(2 * SIZE)
            first[0] = second[-1] = 1

    threads = [threading.Thread(target=take_and_drop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert pool.used_bytes == 0
