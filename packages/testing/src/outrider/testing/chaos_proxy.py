"""A TCP proxy that makes a network as bad as tests need it.

    peers --- ChaosProxy.address ---> proxy ---> target
                                       cuts at random, now or after so many bytes
                                       delays, in both directions
                                       carries no more to the target than a slow line
                                       half-opens: accepts, keeps up and forwards nothing
                                       lets later attempts to connect overtake earlier ones

Runs on a thread of its own; settings may be changed at any time by any thread.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from contextlib import suppress
from typing import Self

_READ_BYTES = 1 << 16
_MOST_QUEUED = 64
"""Pieces under way in one direction, before the sender has to wait."""
_SLOW_BYTES = 1 << 12
"""What the proxy holds of a slow line, so that it does not hide it."""
_WINDOW_BYTES = 1 << 15
"""What the system holds before that. With less, a sender's TCP_USER_TIMEOUT ran out while bytes went."""
_SEGMENT_BYTES = 1_400


class ChaosProxy:
    """Forwards connections from `address` to `target`, both "host:port", as well as it is let."""

    def __init__(
        self, target: str, *, host: str = "127.0.0.1", seed: int = 0, bytes_per_s: float | None = None
    ) -> None:
        """Listen from now on, on a port that the system chooses.

        Each connection carries `bytes_per_s` to the target at most; the way back is fast.
        """
        self.target = target
        self._bytes_per_s = bytes_per_s
        self.latency_s = 0.0
        """How long everything takes, in each direction."""
        self.attempt_s = 0.0
        """How long an attempt to connect takes at most: a later one may be faster."""
        self.cut_after_bytes: tuple[float, float] | None = None
        """Each connection breaks after a number of bytes between these, in both directions together."""
        self.is_half_open = False
        """Nothing is forwarded, and nobody is told."""
        self.num_connections = self.num_cuts = 0
        self._rng = random.Random(seed)  # noqa: S311 - chooses what breaks
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None] | None] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos", daemon=True)
        self._thread.start()
        self.address = asyncio.run_coroutine_threadsafe(self._listen(host), self._loop).result(10)

    @property
    def num_open(self) -> int:
        """Connections that are up."""
        return len(self._open)

    def cut(self, share: float = 1.0) -> int:
        """Break each connection that is up with this probability. Returns how many those were."""

        async def cut() -> int:
            chosen = [each for each in self._open if self._rng.random() < share]
            for each in chosen:
                each.cut()
            return len(chosen)

        return asyncio.run_coroutine_threadsafe(cut(), self._loop).result(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            self._server.close()
            for each in list(self._open):
                each.cut()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self, host: str) -> str:
        listening = socket.create_server((host, 0))
        limit = _READ_BYTES
        if self._bytes_per_s is not None:
            limit = _SLOW_BYTES
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW_BYTES)
            # Loopback's large segments give whoever dials a buffer of megabytes.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)
        self._server = await asyncio.start_server(self._accept, sock=listening, limit=limit)
        name = self._server.sockets[0].getsockname()
        return f"{name[0]}:{name[1]}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._rng.uniform(0.0, self.attempt_s))
        host, _, port = self.target.rpartition(":")
        try:
            onward = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        self.num_connections += 1
        connection = _Connection(self, (reader, writer), onward, self._draw_budget())
        self._open.add(connection)
        self._tasks.add(asyncio.current_task())  # which asyncio holds weakly
        # Streams of Python 3.11 cannot take that what serves one is cancelled.
        with suppress(asyncio.CancelledError):
            await connection.run()
        self._open.discard(connection)
        self._tasks.discard(asyncio.current_task())

    def _draw_budget(self) -> float:
        """Return after how many bytes the next connection breaks: each order of magnitude as often."""
        if self.cut_after_bytes is None:
            return float("inf")
        least, most = self.cut_after_bytes
        budget: float = least * (most / least) ** self._rng.random()
        return budget


class _Connection:
    def __init__(
        self,
        proxy: ChaosProxy,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        budget: float,
    ) -> None:
        self._proxy = proxy
        self._near, self._far = near, far
        self._budget = budget

    async def run(self) -> None:
        there = self._forward(self._near[0], self._far[1], self._proxy._bytes_per_s)  # noqa: SLF001
        back = self._forward(self._far[0], self._near[1])
        tasks = [asyncio.create_task(way) for way in (there, back)]
        try:
            await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            self._abort()

    def cut(self) -> None:
        """Break both ends, as a router does that was switched off and on again."""
        self._proxy.num_cuts += self in self._proxy._open  # noqa: SLF001 - of this module
        self._proxy._open.discard(self)  # noqa: SLF001
        self._abort()

    def _abort(self) -> None:
        for _, writer in (self._near, self._far):
            writer.transport.abort()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_per_s: float | None = None
    ) -> None:
        """Forward one direction until its end, each piece when its time has come."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_QUEUED)
        writing = asyncio.create_task(self._write(pieces, writer))
        loop = asyncio.get_running_loop()
        free_at = 0.0
        try:
            piece = b"x"
            while piece:
                try:
                    piece = await reader.read(_READ_BYTES)
                except ConnectionError:
                    piece = b""
                if bytes_per_s is not None:
                    free_at = max(free_at, loop.time()) + len(piece) / bytes_per_s
                    await asyncio.sleep(free_at - loop.time())
                await pieces.put((loop.time() + self._proxy.latency_s, piece))
            await writing
        except ConnectionError:
            self._abort()
        finally:
            writing.cancel()

    async def _write(self, pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            while self._proxy.is_half_open:  # noqa: ASYNC110 - set by any thread
                await asyncio.sleep(0.05)
            if not piece:
                if writer.can_write_eof():
                    with suppress(OSError):
                        writer.write_eof()
                return
            sent = piece[: max(0, int(min(self._budget, len(piece))))]
            self._budget -= len(piece)
            writer.write(sent)
            if len(sent) < len(piece):
                self.cut()
                return
            try:
                await writer.drain()
            except ConnectionError:
                self._abort()
                return
