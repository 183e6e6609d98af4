"""The network's thread: one for each process, with one asyncio loop for all that listens or dials.

gRPC does not survive a fork. Processes of a program that uses it are made with the start method "spawn",
or before anything listens or dials.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import numpy as np

Result = TypeVar("Result")

_THREAD_NAME = "outrider-network"
_lock = threading.Lock()
_started: tuple[asyncio.AbstractEventLoop, int] | None = None


def network_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, and start its thread where this is the first call. It ends with the process."""
    global _started  # noqa: PLW0603  (gRPC's own state is global too)
    with _lock:
        if _started is None:
            _keep_freed_memory()
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name=_THREAD_NAME, daemon=True).start()
            _started = loop, os.getpid()
        loop, process = _started
    if process != os.getpid():
        raise RuntimeError(
            "this process was forked from one that uses gRPC, which does not survive that; "
            'start it with multiprocessing.get_context("spawn")'
        )
    return loop


def _keep_freed_memory() -> None:
    """Let the allocator keep what chunks of messages need, and not fetch it anew for each.

    glibc hands a block of 1 MiB back to the system when it is freed, until it has seen a larger one being
    freed. Receiving 64 MiB takes 53 ms of both sides' processors with this, and 84 ms without (measured).
    """
    np.empty(31 * 2**20, np.uint8)  # glibc looks at blocks of up to 32 MiB; nothing touches this one


def wait_for(coroutine: Callable[[], Coroutine[Any, Any, Result]], timeout_s: float | None = None) -> Result:
    """Run a coroutine on the network's thread and return its result. Must not be called by that thread.

    Raises TimeoutError, and the coroutine is cancelled then.
    """
    assert threading.current_thread().name != _THREAD_NAME, "a receiver must not wait for the network"
    future = asyncio.run_coroutine_threadsafe(coroutine(), network_loop())
    try:
        return future.result(timeout_s)
    except TimeoutError:
        future.cancel()
        raise
