"""Trains for algorithm processes that dial in, one after the other.

    network's thread                      the thread that calls `run`
    opened, received, closed --queue-->   one message after the other: `ServedRun`
    a second algorithm: goodbye           in between: what learners did that train by themselves

A run ends with its connection. Whoever dials again brings the state to go on from.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from outrider.learner.groups.rank_error import LostRankError
from outrider.learner.learner import TrainingDivergedError
from outrider.learner.service.served_groups import ServedGroups
from outrider.learner.service.served_run import RefusedError, ServedRun
from outrider.learner.service.service_terms import LIMITS
from outrider.transport.connection import Connection
from outrider.wire import WireError, decode_learn_request, encode_learn_response, session

_POLL_S = 0.01
"""How soon what asynchronous learners did is told: no event wakes the thread for it."""
_IDLE_S = 1.0
_HELLO_TIMEOUT_S = 10.0
_START_TIMEOUT_S = 120.0
"""A run that holds the service and starts no training keeps others out."""
_TAKEN_TIMEOUT_S = 10.0
"""Longest wait for an algorithm to say that it has the state."""
_MAX_QUEUED = 10_000
"""Messages that wait for the thread that trains. An algorithm has a handful under way."""
_STATUS_EVERY_S = 10.0
_BUSY = (
    "the learner service trains another run, and one at a time; wait until that has ended, or start another "
    "service"
)
_LOGGER = logging.getLogger("outrider.learner.service")


@dataclass(frozen=True, slots=True)
class _Opened:
    connection: Connection


@dataclass(frozen=True, slots=True)
class _Said:
    connection: Connection
    message: session.LearnRequest
    attachment: memoryview


@dataclass(frozen=True, slots=True)
class _Closed:
    connection: Connection
    reason: str


class LearnerService:
    """The `Receiver` of `LearnerService.Learn`, and the loop that trains."""

    def __init__(self, groups: ServedGroups, *, network_modules: Sequence[str] = ()) -> None:
        """Train with learners that `groups` makes; networks of users come from `network_modules`."""
        self._groups = groups
        self._network_modules = network_modules
        self._events: SimpleQueue[_Opened | _Said | _Closed | None] = SimpleQueue()
        self._current: Connection | None = None
        """Whom it trains for; belongs to the network's thread."""
        self._stopping = ""
        self._is_whole = True
        self.run: ServedRun | None = None
        """What it trains now, for who watches."""
        self._began_s = 0.0
        """When that run's connection was opened."""
        self._told_s, self._told = 0.0, (0, 0)
        """When the operator was told of how many updates and rows."""

    @property
    def why_it_stops(self) -> str:
        """A sentence; empty where it goes on."""
        return self._stopping

    def readiness(self) -> tuple[bool, str]:
        """Tell whether algorithms may dial, and say what it does in a line. Any thread may ask."""
        run = self.run
        if self._stopping:
            return False, "not listening"
        return True, "waits for a run" if run is None else f"trains {run.algorithm}, version {run.version}"

    def opened(self, connection: Connection) -> None:
        if self._current is None and not self._stopping:
            self._current = connection
            self._events.put(_Opened(connection))
            return
        sentence = self._stopping or _BUSY
        _close(connection, session.GoodbyeReason.LATER, sentence)
        _LOGGER.warning("sent %s away: %s", connection.peer, sentence)

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        message = decode_learn_request(head, LIMITS)
        if connection is self._current and self._events.qsize() > _MAX_QUEUED:
            raise WireError(f"{_MAX_QUEUED} messages wait to be read; send fragments, and wait for reports")
        if message is not None and connection is self._current:
            self._events.put(
                _Said(connection, message, memoryview(b"") if attachment is None else attachment)
            )

    def closed(self, connection: Connection, reason: str) -> None:
        if connection is self._current:
            self._current = None
            self._events.put(_Closed(connection, reason))

    def stop(self, sentence: str) -> None:
        """Let `serve` return after the update under way; a handler of signals may call it."""
        self._stopping = sentence
        self._events.put(None)

    def serve(self) -> bool:
        """Train until `stop`; returns False where it ended because a rank of the group was lost."""
        while not self._stopping:
            self._step()
        if self.run is not None:
            self._guard(self.run, self._hand_over)
        if self.run is not None:
            self.run.leave(self._stopping)
            self._end()
        return self._is_whole

    def _hand_over(self, run: ServedRun) -> None:
        """Hand over what a run goes on from, and wait until its algorithm has it.

        What was written would otherwise be lost with this process where the other side reads slowly.
        """
        deadline = time.monotonic() + _TAKEN_TIMEOUT_S
        is_under_way = run.hand_over()
        while is_under_way and (left_s := deadline - time.monotonic()) > 0:
            with suppress(Empty):
                match self._events.get(timeout=left_s):
                    case _Said(connection, session.LearnStateRequest(0)) | _Closed(connection):
                        is_under_way = connection is not run.connection

    def _step(self) -> None:
        """Do the next thing that came, if one comes soon, and what learners want to be done."""
        is_asynchronous = self.run is not None and self.run.is_asynchronous
        try:
            event = self._events.get(timeout=_POLL_S if is_asynchronous else _IDLE_S)
        except Empty:
            event = None
        match event:
            case _Opened(connection):
                self._end()
                self.run = ServedRun(connection, self._groups, network_modules=self._network_modules)
                self._began_s = self._told_s = time.monotonic()
                self._told = (0, 0)
            case _Said(connection, message, attachment) if self.run and connection is self.run.connection:
                self._guard(self.run, lambda run: run.receive(message, attachment))
            case _Closed(connection, reason) if self.run and connection is self.run.connection:
                _LOGGER.info("%s is gone: %s", connection.peer, reason)
                self._end()
        if self.run is not None:
            self._guard(self.run, ServedRun.work)
        if self.run is not None:
            self._watch(self.run)

    def _watch(self, run: ServedRun) -> None:
        """Cut off who does not say hello, and tell how fast it goes."""
        now = time.monotonic()
        if not run.is_greeted and now > self._began_s + _HELLO_TIMEOUT_S:
            self._leave(
                session.GoodbyeReason.MISBEHAVED,
                f"no hello came within {_HELLO_TIMEOUT_S:g} s; begin with one",
            )
            return
        if not run.is_started and now > self._began_s + _START_TIMEOUT_S:
            self._leave(
                session.GoodbyeReason.MISBEHAVED,
                f"no start came within {_START_TIMEOUT_S:g} s; say which learners to make, or let others in",
            )
            return
        elapsed_s = now - self._told_s
        if elapsed_s >= _STATUS_EVERY_S:
            updates, rows = run.num_updates - self._told[0], run.num_rows - self._told[1]
            self._told_s, self._told = now, (run.num_updates, run.num_rows)
            if updates:
                _LOGGER.info(
                    "%s: %.1f updates/s, %s rows/s, version %d",
                    run.algorithm,
                    updates / elapsed_s,
                    f"{rows / elapsed_s:,.0f}",
                    run.version,
                )

    def _guard(self, run: ServedRun, work: Callable[[ServedRun], None]) -> None:
        """Do some work for a run; what goes wrong ends the run, with a sentence to its algorithm."""
        try:
            work(run)
        except WireError as error:
            self._leave(session.GoodbyeReason.MISBEHAVED, str(error))
        except RefusedError as error:
            self._leave(session.GoodbyeReason.REFUSED, str(error))
        except LostRankError as error:
            self._is_whole = False
            self._stopping = f"a learner of the service was lost: {error}"
            self._leave(session.GoodbyeReason.LATER, self._stopping)
        except ConnectionError as error:  # weights that went with their node: the run has older ones
            self._leave(session.GoodbyeReason.LATER, f"what the learners made is lost: {error}")
        except TrainingDivergedError as error:
            self._leave(session.GoodbyeReason.FAILED, f"{TrainingDivergedError.__name__}: {error}")
        except Exception as error:
            _LOGGER.debug("what went wrong in training", exc_info=True)
            self._leave(session.GoodbyeReason.FAILED, f"{type(error).__name__}: {error}")

    def _leave(self, reason: session.GoodbyeReason, sentence: str) -> None:
        assert self.run is not None
        shown = sentence if sentence.isprintable() else repr(sentence)
        _LOGGER.warning("ends the run of %s (%s): %s", self.run.connection.peer, reason.value, shown)
        _close(self.run.connection, reason, sentence)
        self._end()

    def _end(self) -> None:
        run, self.run = self.run, None
        if run is not None:
            run.end()


def _close(connection: Connection, reason: session.GoodbyeReason, sentence: str) -> None:
    connection.close(encode_learn_response(session.Goodbye(reason=reason, sentence=sentence)))
