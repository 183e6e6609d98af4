"""One stream to a learner service, from the side that dials: waits with deadlines, and errors with sentences.

    network's thread:   received --> queue          caller's thread:   take <-- queue

A goodbye becomes the error that its reason stands for, in the caller's thread.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from outrider.learner.groups.introduction import introduction
from outrider.learner.learner import TrainingDivergedError
from outrider.learner.service.service_terms import LIMITS
from outrider.transport.connection import Connection, Receiver
from outrider.wire import Bytes, decode_learn_response, encode_learn_request, session

Dial: TypeAlias = Callable[[Receiver, float], Connection]
"""Connects within so many seconds; raises DialError."""
Message: TypeAlias = tuple[session.LearnResponse, memoryview]
"""What was said, and what was attached: nothing is an empty view."""


class LostServiceError(ConnectionError):
    """The service is gone, or does not answer; dialling again may help."""


class ServiceConnection:
    """Greets the service when it is made; a `Receiver`. Methods are called from one thread."""

    def __init__(self, dial: Dial, timeout_s: float, *, needs: frozenset[str] = frozenset()) -> None:
        """Dial and wait for the welcome. Raises DialError, LostServiceError, and ValueError where refused."""
        self._changed = threading.Condition()
        self._messages: deque[Message] = deque()
        self._reason: str | None = None
        """Why it is closed; None while it is not."""
        self.num_fragments = 0
        """That were sent, which is the sequence of the last one."""
        deadline = time.monotonic() + timeout_s
        self._connection = dial(self, timeout_s)
        try:
            self.send(introduction("an algorithm", needs))
            self.component = self._welcome(max(0.0, deadline - time.monotonic()))
        except BaseException:
            self._connection.close()
            raise

    def opened(self, connection: Connection) -> None:
        """Do nothing; `dial` returns it."""

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        message = decode_learn_response(head, LIMITS)
        if message is None:
            return
        if isinstance(message, session.LearnState) and not message.request:
            # The service goes away, and waits to be told that this came.
            connection.send(encode_learn_request(session.LearnStateRequest(0)))
        with self._changed:
            self._messages.append((message, memoryview(b"") if attachment is None else attachment))
            self._changed.notify_all()

    def closed(self, connection: Connection, reason: str) -> None:
        with self._changed:
            self._reason = reason
            self._changed.notify_all()

    def send(self, message: session.LearnRequest, pieces: Sequence[Bytes] = ()) -> None:
        """Send, with what is attached; returns at once."""
        size_bytes = sum(memoryview(piece).nbytes for piece in pieces)
        self._connection.send(encode_learn_request(message, attachment_bytes=size_bytes), pieces)

    def send_fragment(self, pieces: Sequence[Bytes]) -> int:
        """Send the bytes of a fragment and return its sequence."""
        self.num_fragments += 1
        self.send(session.LearnFragment(self.num_fragments), pieces)
        return self.num_fragments

    def take(self, timeout_s: float) -> Message | None:
        """Return the next message, or None where none comes in time.

        Raises LostServiceError where there is nothing more to come, and what a goodbye stands for.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._reason is not None, timeout_s)
            if self._messages:
                message, attachment = self._messages.popleft()
                if isinstance(message, session.Goodbye):
                    raise _error_of(message)
                return message, attachment
            if self._reason is not None:
                raise LostServiceError(f"the connection to the learner service ended: {self._reason}")
        return None

    def close(self) -> None:
        """Say goodbye. Closing twice does nothing."""
        goodbye = session.Goodbye(reason=session.GoodbyeReason.DONE, sentence="the run is over")
        self._connection.close(encode_learn_request(goodbye))

    def _welcome(self, timeout_s: float) -> str:
        taken = self.take(timeout_s)
        if taken is None:
            raise LostServiceError(f"the learner service said nothing within {timeout_s:.0f} s")
        welcome, _ = taken
        if not isinstance(welcome, session.LearnWelcome):
            raise LostServiceError(f"the learner service began with {type(welcome).__name__} and no welcome")
        if welcome.welcome.refusal is not None:
            raise ValueError(f"the learner service refused: {welcome.welcome.refusal.sentence}")
        if welcome.terms is not None:
            self._connection.keep(welcome.terms)
        return welcome.welcome.component


def _error_of(goodbye: session.Goodbye) -> Exception:
    """Return what is raised for the last message of a service."""
    sentence = goodbye.sentence or "it gave no reason"
    diverged = f"{TrainingDivergedError.__name__}: "
    match goodbye.reason:
        case session.GoodbyeReason.LATER:
            return LostServiceError(sentence)
        case session.GoodbyeReason.REFUSED:
            return ValueError(f"the learner service refused: {sentence}")
        case session.GoodbyeReason.FAILED if sentence.startswith(diverged):
            return TrainingDivergedError(sentence.removeprefix(diverged))
        case _:
            return RuntimeError(f"the learner service ended the run: {sentence}")
