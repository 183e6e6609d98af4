"""A mailbox between threads of one process: references move, and nothing is encoded or copied."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic

from outrider.transport.mailbox import MailboxClosedError, MailboxStatistics, Message


class LocalMailbox(Generic[Message]):
    """A `Mailbox` in memory. What is taken out is the very object that was put in."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity={capacity} lets no message through; give at least 1")
        self._capacity = capacity
        self._messages: deque[Message] = deque()
        self._changed = threading.Condition()
        self._closed_because: str | None = None
        self._num_put = 0
        self._put_wait_s = 0.0
        self._get_wait_s = 0.0

    @property
    def capacity(self) -> int:
        """Most messages in flight."""
        return self._capacity

    def put(self, message: Message, *, timeout_s: float | None = None) -> None:
        """Wait for room and hand over `message`; see `Mailbox.put`."""
        with self._changed:
            start = time.perf_counter()
            in_time = self._wait(self._can_put, timeout_s)
            self._put_wait_s += time.perf_counter() - start
            if self._closed_because is not None:
                raise MailboxClosedError(f"a message was not put: {self._closed_sentence()}")
            if not in_time:
                raise TimeoutError(
                    f"no room within {timeout_s} s in a mailbox that holds {self._capacity} messages; "
                    "the receiving side is slower than this one, or stuck"
                )
            self._messages.append(message)
            self._num_put += 1
            self._changed.notify_all()

    def get(self, *, timeout_s: float | None = None) -> Message:
        """Wait for a message and return it; see `Mailbox.get`."""
        with self._changed:
            start = time.perf_counter()
            in_time = self._wait(self._can_get, timeout_s)
            self._get_wait_s += time.perf_counter() - start
            if self._messages:
                self._changed.notify_all()
                return self._messages.popleft()
            if in_time:
                raise MailboxClosedError(f"no message is left: {self._closed_sentence()}")
            raise TimeoutError(f"no message within {timeout_s} s; the sending side is slower, or stuck")

    def close(self, reason: str = "") -> None:
        """Let nothing more in and wake everyone who waits; see `Mailbox.close`."""
        with self._changed:
            if self._closed_because is None:
                self._closed_because = reason
            self._changed.notify_all()

    def statistics(self) -> MailboxStatistics:
        """Return the counts so far."""
        with self._changed:
            return MailboxStatistics(
                num_in_flight=len(self._messages),
                num_put=self._num_put,
                num_taken=self._num_put - len(self._messages),
                put_wait_s=self._put_wait_s,
                get_wait_s=self._get_wait_s,
            )

    def _wait(self, ready: Callable[[], bool], timeout_s: float | None) -> bool:
        if timeout_s is not None and timeout_s < 0:
            raise ValueError(f"timeout_s={timeout_s} lies in the past; give 0 or more, or None to wait")
        return self._changed.wait_for(ready, timeout_s)

    def _can_put(self) -> bool:
        return len(self._messages) < self._capacity or self._closed_because is not None

    def _can_get(self) -> bool:
        return bool(self._messages) or self._closed_because is not None

    def _closed_sentence(self) -> str:
        return f"the mailbox is closed: {self._closed_because or 'its other side is done'}"
