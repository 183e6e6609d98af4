"""What a runner elsewhere is asked or told about its state, one request after the other.

A request is said again where a connection breaks before its answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias

from outrider.wire import Bytes, session

Send: TypeAlias = Callable[[session.SampleResponse, Sequence[Bytes]], None]


class StateRequests:
    """Asks for a state, gives one, or says what others play. All but `call` under the gateway's lock."""

    def __init__(self, name: str, changed: threading.Condition, send: Send) -> None:
        """`name` is the runner's, for operators; `changed` the gateway's lock."""
        self._name = name
        self._changed = changed
        self._send = send
        self._is_over = False
        self.num_made = 0
        """Which is the number of the last."""
        self._request: _Request | None = None
        self._told_next: _Request | None = None
        """What `tell` was given last, while the runner has not answered what it was told before."""

    def call(self, pieces: Sequence[Bytes], timeout_s: float) -> memoryview | None:
        """Give a state, or ask for one by no pieces, and wait; return what is attached to the answer.

        Raises ConnectionError or TimeoutError.
        """
        with self._changed:
            deadline = monotonic() + timeout_s
            request = _Request(pieces)
            if self._changed.wait_for(lambda: self._request is None or self._is_over, timeout_s):
                self._make(request)
                remaining_s = max(0.0, deadline - monotonic())
                self._changed.wait_for(lambda: request.is_answered or self._is_over, remaining_s)
                self._request = None
            if not request.is_answered and self._is_over:
                raise ConnectionError(f"{self._name} is gone")
        if not request.is_answered:
            raise TimeoutError(f"{self._name} did not answer within {timeout_s:g} s")
        if request.error:
            raise ConnectionError(f"{self._name} could not do it: {request.error}")
        return request.answer

    def tell(self, pieces: Sequence[Bytes], heard: Callable[[str], None]) -> None:
        """Give part of a state and wait for nothing; `heard` is called with what went wrong, or nothing.

        What is told before the last was heard takes the place of all that was told since: it is sent then,
        so that no more waits for a slow line than one, however often this is called.
        """
        request = _Request(pieces, heard)
        if self._request is None or self._request.heard is None:
            self._make(request)
        else:
            self._told_next = request

    def say_again(self) -> None:
        """Repeat what has no answer: the connection broke before it came."""
        if self._told_next is not None:
            self._make(self._told_next)
        elif self._request is not None and not self._request.is_answered:
            self._say(self._request)

    def take(self, number: int, error: str, answer: memoryview | None) -> None:
        """Take an answer; one that nobody waits for any more counts for nothing."""
        request = self._request
        if request is None or request.number != number:
            return
        request.is_answered, request.error, request.answer = True, error, answer
        if self._told_next is not None and not error:
            self._make(self._told_next)
        elif request.heard is not None:
            self._request = None
            request.heard(error)
        self._changed.notify_all()

    def end(self) -> None:
        """Let nobody wait any more."""
        self._is_over = True
        self._changed.notify_all()

    def _make(self, request: _Request) -> None:
        self.num_made += 1
        request.number = self.num_made
        self._request, self._told_next = request, None
        self._say(request)

    def _say(self, request: _Request) -> None:
        self._send(session.StateRequest(request.number), request.pieces)


@dataclass(slots=True)
class _Request:
    pieces: Sequence[Bytes]
    heard: Callable[[str], None] | None = None
    """To be called with what went wrong; None where somebody waits."""
    number: int = 0
    """From 1 on, once it is made."""
    is_answered: bool = False
    error: str = ""
    answer: memoryview | None = None
