"""A `Connection` over a stream of messages, the same on the side that dials and on the one that is dialled.

    any thread         the network's thread
    send -> Outbox --- writes one message after the other  ---> stream
         Receiver <--- Inbox: large messages put together  <--- stream

Free of gRPC: a stream is whatever reads and writes whole messages.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from outrider.transport.buffer_pool import RECEIVED, BufferPool
from outrider.transport.connection import Receiver
from outrider.transport.inbox import Inbox
from outrider.transport.liveness import Liveness, MessageRate, Pace
from outrider.transport.outbox import Outbox
from outrider.wire import Bytes, Limits, WireError
from outrider.wire.session import Goodbye, GoodbyeReason, Terms
from outrider.wire.stream import HEARTBEAT, goodbye_message

CLOSE_TIMEOUT_S = 1.0
"""Longest pause of a closed connection that goes on sending what was queued, or reading what was sent."""
LONGEST_CLOSE_S = 10.0
"""Longest time that it goes on: a state of a thousand policies may be 100 MB, and the machine busy."""
MAX_QUEUED = 10_000
"""Small messages that wait for a peer that does not read, before it is given up."""

log = logging.getLogger(__name__)


class Stream(Protocol):
    """What carries messages. Both calls are made by the network's thread, each once at a time."""

    async def read(self) -> bytes | None:
        """Return the next message; None: the other side is done. Raises ConnectionError."""
        ...

    async def write(self, message: bytes) -> None:
        """Send a message, and wait for room to send another one. Raises ConnectionError."""
        ...

    async def finish(self) -> None:
        """Say that nothing more is written, if that is not said by returning. Raises ConnectionError."""
        ...


class StreamConnection:
    """One stream, from `run` being called until it returns."""

    def __init__(
        self,
        stream: Stream,
        receiver: Receiver,
        *,
        peer: str,
        identity: str = "",
        limits: Limits,
        max_messages_per_s: int | None = None,
        first_message_timeout_s: float | None = None,
        pool: BufferPool = RECEIVED,
    ) -> None:
        """Must be made by the network's thread. The last two limits are for peers that dialled."""
        self.peer = peer
        self.identity = identity
        self.broke_rule = False
        self._stream = stream
        self._receiver = receiver
        self._inbox = Inbox(limits, pool, is_of_stranger=first_message_timeout_s is not None)
        self._outbox = Outbox()
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._first_message_timeout_s = first_message_timeout_s
        self._is_of_stranger = first_message_timeout_s is not None
        now = self._loop.time()
        self._rate = None if max_messages_per_s is None else MessageRate(max_messages_per_s, now)
        self._liveness: Liveness | None = None
        self._pace: Pace | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._close_by: float | None = None
        self._why_closed = ""
        self._wake_writer = asyncio.Event()
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self._is_goodbye_said = False
        self._reason = ""

    @property
    def num_bytes_to_send(self) -> int:
        """Bytes of large messages that wait to be sent, that which is under way included."""
        return self._outbox.num_large_bytes

    def send(self, head: bytes, attachment: Sequence[Bytes] = ()) -> None:
        """Queue a message; see `Connection.send`."""
        if self._outbox.put(head, attachment):
            self._call(self._wake_writer.set)
        elif self._outbox.num_small > MAX_QUEUED:
            self._call(self._break, f"{self.peer} does not read what it is sent: {MAX_QUEUED} messages wait")
        elif self._is_of_stranger and self._outbox.is_too_full:
            self._call(self._leave_unread)

    def keep(self, terms: Terms) -> None:
        """Send heartbeats and expect them; see `Connection.keep`."""
        self._call(self._keep, terms)

    def close(self, last: bytes = b"") -> None:
        """Send what is queued and `last`, and close; see `Connection.close`."""
        self._outbox.close(last)
        self._call(self._closing, "this side closed the connection")

    async def run(self) -> None:
        """Read and write until either side closes the connection, or it breaks."""
        if self._first_message_timeout_s is not None:
            self._set_timer("first", self._loop.time() + self._first_message_timeout_s, self._miss_first)
        self._tell(self._receiver.opened)
        tasks = [self._loop.create_task(self._read()), self._loop.create_task(self._write())]
        try:
            await asyncio.wait((*tasks, self._broken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for timer in self._timers.values():
                timer.cancel()
            self._outbox.close(at_once=True)
            self._because(self._broken_for("the connection broke"))
            self._tell(self._receiver.closed, self._reason)

    # --------------------------------------------------------------------------------------- reading

    async def _read(self) -> None:
        try:
            while (data := await self._stream.read()) is not None:
                # After this side has closed it reads on, so that the other one can send on and see the end.
                if not self._outbox.is_closed:
                    self._go_on_closing()
                    self._take(data)
            if self._is_goodbye_said:
                self._because("the other side closed the connection")
            else:
                self._because(self._broken_for("the connection ended without a goodbye"))
        except ConnectionError as error:
            self._because(self._broken_for(str(error)))

    def _take(self, data: bytes) -> None:
        now = self._loop.time()
        if self._liveness is not None:
            self._liveness.heard(now)
        if self._rate is not None and self._rate.is_too_high(now):
            self._give_up(GoodbyeReason.MISBEHAVED, self._rate.sentence)
            return
        self._clear_timer("first")
        try:
            arrival = self._inbox.take(data)
        except WireError as error:
            self._give_up(GoodbyeReason.MISBEHAVED, str(error))
        except MemoryError as error:
            self._give_up(GoodbyeReason.LATER, f"there is no memory for this message now: {error}")
        else:
            self._watch_pace(now)
            if arrival is not None:
                self._is_goodbye_said = arrival.goodbye is not None
                self._tell(self._receiver.received, arrival.head, arrival.attachment)

    def _tell(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(self, *arguments)
        except WireError as error:
            self._give_up(GoodbyeReason.MISBEHAVED, str(error))
        except Exception:
            log.exception("%s failed on a message of %s", call.__qualname__, self.peer)
            self._give_up(GoodbyeReason.FAILED, "this side failed on a message; its log says why")

    # --------------------------------------------------------------------------------------- writing

    async def _write(self) -> None:
        try:
            while not self._outbox.is_done:
                self._wake_writer.clear()
                message = self._outbox.take()
                if message is None:
                    await self._wake_writer.wait()
                    continue
                if self._liveness is not None:
                    self._liveness.sent(self._loop.time())
                await self._stream.write(message)
                self._go_on_closing()
            await self._stream.finish()
        except ConnectionError as error:
            # What the other side said last, and why it ended, may not be read yet.
            self._begin_closing(self._broken_for(str(error)))
            await self._broken

    # ----------------------------------------------------------------------------------------- ending

    def _give_up(self, reason: GoodbyeReason, sentence: str) -> None:
        self.broke_rule = reason is GoodbyeReason.MISBEHAVED
        self._outbox.close(goodbye_message(Goodbye(reason=reason, sentence=sentence)), at_once=True)
        self._closing(f"{self.peer} was cut off: {sentence}")

    def _leave_unread(self) -> None:
        num_mib = self._outbox.num_large_bytes / 2**20
        if self._outbox.is_closed:
            return
        sentence = (
            f"{num_mib:.0f} MiB wait that it was sent and does not read; read on, and ask for less at a time"
        )
        self._give_up(GoodbyeReason.LATER, sentence)  # a network that hangs looks the same from here
        self.broke_rule = True

    def _closing(self, reason: str) -> None:
        self._because(reason)
        self._wake_writer.set()
        if self._close_by is None:
            self._begin_closing(reason)

    def _begin_closing(self, reason: str) -> None:
        self._close_by, self._why_closed = self._loop.time() + LONGEST_CLOSE_S, reason
        self._go_on_closing()

    def _go_on_closing(self) -> None:
        """Give it some more time where it closes, because something was read or written."""
        if self._close_by is not None:
            by = min(self._loop.time() + CLOSE_TIMEOUT_S, self._close_by)
            self._set_timer("close", by, self._break, self._why_closed)

    def _break(self, reason: str) -> None:
        self._because(reason)
        if not self._broken.done():
            self._broken.set_result(None)

    def _broken_for(self, reason: str) -> str:
        """Return why a connection broke that nobody has closed: maybe because this process stood still."""
        stood_s = 0.0 if self._liveness is None else self._liveness.stood_still_s(self._loop.time())
        return f"this process stood still for {stood_s:.0f} s; then {reason}" if stood_s else reason

    def _because(self, reason: str) -> None:
        self._reason = self._reason or reason

    # ----------------------------------------------------------------------------------------- timing

    def _keep(self, terms: Terms) -> None:
        self._liveness = Liveness(terms, self._loop.time())
        self._check_liveness()

    def _check_liveness(self) -> None:
        assert self._liveness is not None
        checked = self._liveness.check(self._loop.time())
        if checked.is_silent:
            self._break(f"nothing was heard of {self.peer} for {self._liveness.timeout_s:g} s")
        elif checked.wants_heartbeat and self._outbox.is_waiting:
            self.send(HEARTBEAT)
        self._set_timer("liveness", checked.next_check, self._check_liveness)

    def _miss_first(self) -> None:
        sentence = f"no message came within {self._first_message_timeout_s:g} s; introduce yourself first"
        self._give_up(GoodbyeReason.LATER, sentence)  # a network that hangs looks the same from here
        self.broke_rule = True

    def _watch_pace(self, now: float) -> None:
        missing = self._inbox.num_bytes_missing
        if not missing:
            self._pace = None
            self._clear_timer("pace")
        elif self._pace is None:
            self._pace = Pace(missing, now, is_of_stranger=self._is_of_stranger)
            self._set_timer("pace", self._pace.next_check, self._check_pace)

    def _check_pace(self) -> None:
        assert self._pace is not None
        missing = self._inbox.num_bytes_missing
        if self._pace.is_too_slow(missing, self._loop.time()):
            self._give_up(
                GoodbyeReason.MISBEHAVED,
                f"{missing} bytes of a large message are missing and came slower than "
                f"{self._pace.min_bytes_per_s} bytes/s; send what was announced without pauses",
            )
        else:
            self._set_timer("pace", self._pace.next_check, self._check_pace)

    def _set_timer(self, name: str, when: float, call: Callable[..., None], *arguments: object) -> None:
        self._clear_timer(name)
        self._timers[name] = self._loop.call_at(when, call, *arguments)

    def _clear_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def _call(self, call: Callable[..., None], *arguments: object) -> None:
        if threading.get_ident() == self._thread:
            call(*arguments)
        else:
            self._loop.call_soon_threadsafe(call, *arguments)
