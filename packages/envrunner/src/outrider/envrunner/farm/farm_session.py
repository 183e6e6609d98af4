"""What a runner was asked for and owes, over however many connections: its side of `RunnerService`.

    network's thread                                   main thread
    opened, received, closed ---> FarmSession ---> next_work: Assigned, Sample, StateWanted, Ended
                                              <--- ready, deliver, answer
                                              <--> policies: asks, and waits for the answer

A fragment is kept until the gateway has acknowledged it. Where a connection breaks, whoever dials again
hands the new one to the same session: it says how far it got, and sends again what may be lost.

Nothing here dials, samples or reads an attachment.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from outrider.envrunner.farm.farm_ending import Ended, Ending
from outrider.envrunner.farm.farm_work import AbandonedError, Assigned, Sample, StateWanted, Witness, Work
from outrider.envrunner.farm.weights_at_hand import WeightsAtHand
from outrider.transport.connection import Connection
from outrider.wire import Bytes, session
from outrider.wire.session import Goodbye, GoodbyeReason
from outrider.wire.session_codec import decode_sample_response, encode_sample_request

_FIRST_TERMS = session.Terms(heartbeat_interval_s=3.0, silence_timeout_s=12.0)
"""Until the gateway says its own."""
_LEAVING_S = 0.5
"""How long what the gateway asked before it heard of the leaving may be under way."""
_CLOSE_S = 2.0
_LOOK_S = 0.1
"""How soon a wait notices that time is up; all else wakes it."""
_ANSWER_S = 60.0
"""Longest wait for policies over a connection that stands."""


class FarmSession:
    """A `Receiver` on one side, and a queue of work on the other. Safe to use from both."""

    def __init__(
        self,
        introduction: session.Join,
        *,
        witness: Witness,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Introduce itself as `introduction` says on each connection."""
        self._introduction = introduction
        self._witness = witness
        self._clock = clock
        self._changed = threading.Condition()
        self._connection: Connection | None = None
        self._is_welcome = False
        self._was_welcome = self._was_told = False
        self._session = introduction.session
        self._life = 0
        self._last_ask = self._acknowledged = 0
        self._assigned: Assigned | None = None
        self._asks: deque[session.Ask] = deque()
        self._state: StateWanted | None = None
        self._weights = WeightsAtHand()
        self._wanted: session.PoliciesWanted | None = None
        """The request for policies that is not answered."""
        self._policies: memoryview | None = None
        """The answer to it."""
        self._num_wanted = 0
        self._answer_by = 0.0
        self._unacknowledged: deque[tuple[int, bytes, Sequence[Bytes]]] = deque()
        self._capabilities: frozenset[str] = frozenset()
        self._leaving: str | None = None
        self._num_hurries = 0
        self._leaves_at = self._leaves_by = 0.0
        self._ended: Ended | None = None
        self._parting = ""
        """What the gateway said when it went away."""

    # ------------------------------------------------------------------------------ the network's thread

    def opened(self, connection: Connection) -> None:
        """Introduce itself, and say how far it got before."""
        with self._changed:
            self._connection = connection
            self._is_welcome = False
            self._parting = ""
            join = replace(
                self._introduction,
                session=self._session,
                last_ask=self._last_ask,
                weights_version=self._weights.newest,
            )
            connection.send(encode_sample_request(join))
            connection.keep(_FIRST_TERMS)

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        """Take note of a message."""
        message = decode_sample_response(head)
        with self._changed:
            if connection is not self._connection or self._ended is not None:
                return
            self._take(connection, message, attachment)
            self._changed.notify_all()

    def closed(self, connection: Connection, reason: str) -> None:
        """Note that somebody has to dial again."""
        with self._changed:
            if connection is not self._connection:
                return
            self._connection = None
            self._is_welcome = False
            if self._was_told and self._ended is None:
                self._was_told = False
                if self._parting:
                    self._witness.parted(self._parting)
                else:
                    self._witness.lost(f"lost the gateway: {reason}")
            self._changed.notify_all()

    def _take(
        self, connection: Connection, message: session.SampleResponse | None, attachment: memoryview | None
    ) -> None:
        match message:
            case session.SessionWelcome():
                self._welcome(connection, message)
            case session.Assignment() if attachment is not None:
                self._witness.seated(self._session)
                self._assigned = Assigned(self._life, message, attachment, self._capabilities)
            case session.WeightsDelivery(version) if attachment is not None:
                self._weights.take(version, attachment, self._asks)
            case session.Ask(sequence):
                if sequence > self._last_ask:
                    self._last_ask = sequence
                    self._asks.append(message)
            case session.Acknowledgement(sequence):
                self._forget_up_to(sequence)
            case session.PoliciesDelivery(request) if attachment is not None:
                self._take_policies(request, attachment)
            case session.StateRequest(request):
                self._state = StateWanted(self._life, request, attachment)
            case Goodbye():
                self._part(connection, message)
            case _:
                pass  # of a newer release

    def _welcome(self, connection: Connection, message: session.SessionWelcome) -> None:
        refusal = message.welcome.refusal
        if refusal is not None:
            self._end(Ending.REFUSED, refusal.sentence)
            connection.close()
            return
        if message.resumed and not self._life:
            self._end_that_of_another(connection)
            return
        self._session = message.session
        self._capabilities = message.welcome.capabilities
        self._is_welcome = True
        if message.terms is not None:
            connection.keep(message.terms)
        if message.resumed:
            self._forget_up_to(message.acknowledged)
            for _, head, pieces in self._unacknowledged:
                connection.send(head, pieces)
            if self._wanted is not None:
                self._answer_by = self._clock() + _ANSWER_S
                connection.send(encode_sample_request(self._wanted))
        else:
            self._begin()
        self._was_welcome = self._was_told = True
        again = "connected again" if message.resumed else "connected"
        self._witness.connected(f"{again} to {message.welcome.component} at {connection.peer}")
        if message.resumed:
            self._witness.seated(self._session)
        if self._leaving is not None:
            connection.send(encode_sample_request(session.Leaving(self._leaving)))

    def _end_that_of_another(self, connection: Connection) -> None:
        """End the session of a process that died, in whose place this one is, so that its seat is free."""
        self._session, self._was_welcome = "", True
        self._connection = None  # what else it brings was said to the other
        sentence = "its process has died; the one that its farm has started in its place dials next"
        connection.close(encode_sample_request(Goodbye(reason=GoodbyeReason.FAILED, sentence=sentence)))

    def _begin(self) -> None:
        """Throw away what belongs to a session that the gateway does not know any more."""
        self._tell_of_debts("begins anew")
        self._life += 1
        self._last_ask = self._acknowledged = 0
        self._assigned = self._state = self._wanted = self._policies = None
        self._num_wanted = 0
        self._asks.clear()
        self._weights.forget()
        self._unacknowledged.clear()

    def _tell_of_debts(self, what: str) -> None:
        num_fragments = self._last_ask - self._acknowledged
        if num_fragments:
            self._witness.noticed(
                f"{what}; fragments thrown away that nobody had acknowledged: {num_fragments}"
            )

    def _take_policies(self, request: int, attachment: memoryview) -> None:
        """Keep what is waited for; an answer may come twice where the request was said twice."""
        if self._wanted is not None and self._wanted.request == request:
            self._wanted, self._policies = None, attachment

    def _forget_up_to(self, sequence: int) -> None:
        self._acknowledged = sequence
        while self._unacknowledged and self._unacknowledged[0][0] <= sequence:
            self._unacknowledged.popleft()

    def _part(self, connection: Connection, goodbye: Goodbye) -> None:
        match goodbye.reason:
            case GoodbyeReason.DONE:
                self._end(Ending.OVER if self._leaving is None else Ending.DRAINED, goodbye.sentence)
            case GoodbyeReason.REFUSED:
                self._end(Ending.REFUSED, goodbye.sentence)
            case GoodbyeReason.MISBEHAVED:
                self._end(Ending.FAILED, goodbye.sentence)
            case GoodbyeReason.LATER | GoodbyeReason.FAILED:
                self._parting = goodbye.sentence
        connection.close()

    # -------------------------------------------------------------------------------------- whoever dials

    def wait_until_closed(self) -> None:
        """Wait until there is no connection, or no need of one."""
        with self._changed:
            self._changed.wait_for(lambda: self._connection is None or self._ended is not None)

    def pause(self, seconds: float) -> bool:
        """Wait before dialling again, for no longer than nobody is in a hurry.

        Returns whether there is any need to dial.
        """
        with self._changed:
            before = self._leaving, self._num_hurries
            self._changed.wait_for(
                lambda: self._ended is not None or (self._leaving, self._num_hurries) != before, seconds
            )
            return self._ended is None

    def hurry(self) -> None:
        """End a pause: there is a gateway. Not for signal handlers: it locks."""
        with self._changed:
            self._num_hurries += 1
            self._changed.notify_all()

    def end(self, ending: Ending, sentence: str = "") -> None:
        """Give up the session, from whatever thread."""
        with self._changed:
            self._end(ending, sentence)

    def _end(self, ending: Ending, sentence: str) -> None:
        if self._ended is None:
            self._ended = Ended(ending, sentence)
            self._changed.notify_all()

    def was_welcome(self) -> bool:
        """Return whether a gateway has let it in since the last time that this was asked."""
        with self._changed:
            was_welcome, self._was_welcome = self._was_welcome, False
            return was_welcome

    # ----------------------------------------------------------------------------------- the main thread

    def next_work(self) -> Work:
        """Wait for something to do."""
        with self._changed:
            while True:
                work = self._next_work()
                if work is not None:
                    return work
                self._changed.wait(None if self._leaving is None else 0.05)

    def _next_work(self) -> Work | None:
        if self._ended is not None:
            return self._ended
        if self._assigned is not None:
            work, self._assigned = self._assigned, None
            return work
        if self._state is not None:
            state, self._state = self._state, None
            return state
        if self._asks and (version := self._weights.version_for(self._asks[0])) is not None:
            return Sample(self._life, self._asks.popleft().sequence, self._weights.hold(version))
        if self._leaving is not None and self._may_leave():
            self._tell_of_debts("leaves because its time is over")
            self._end(Ending.DRAINED, "")
        return self._ended

    def _may_leave(self) -> bool:
        now = self._clock()
        owes_nothing = self._last_ask == self._acknowledged
        return now >= self._leaves_by or (owes_nothing and (now >= self._leaves_at or not self._is_welcome))

    def ready(self, life: int) -> None:
        """Say that the runner is made."""
        self._send(life, encode_sample_request(session.Ready()))

    def deliver(self, life: int, sequence: int, pieces: Sequence[Bytes]) -> None:
        """Hand in a fragment, now or as soon as there is a connection."""
        size = sum(memoryview(piece).nbytes for piece in pieces)
        with self._changed:
            if life == self._life:
                delivery = session.FragmentDelivery(sequence, self._weights.held)
                head = encode_sample_request(delivery, attachment_bytes=size)
                self._unacknowledged.append((sequence, head, pieces))
                self._send(life, head, pieces)

    def answer(self, life: int, request: int, pieces: Sequence[Bytes] = (), *, error: str = "") -> None:
        """Answer a request for a state; lost where the connection is, as the request was."""
        size = sum(memoryview(piece).nbytes for piece in pieces)
        delivery = session.StateDelivery(request, error)
        self._send(life, encode_sample_request(delivery, attachment_bytes=size), pieces)

    def policies(self, life: int, wanted: Sequence[int], dropped: Sequence[int]) -> memoryview:
        """Ask for the weights of policies, and wait for them: a message `Weights`.

        Where the connection breaks they are asked for again over the next one. Raises AbandonedError where
        the session is over, and TimeoutError where the gateway is there and does not answer.
        """
        with self._changed:
            self._require_going_on(life)
            self._num_wanted += 1
            request = session.PoliciesWanted(
                request=self._num_wanted, policies=tuple(wanted), dropped=tuple(dropped)
            )
            self._wanted = request
            self._answer_by = self._clock() + _ANSWER_S
            self._send(life, encode_sample_request(request))
            while (answer := self._answered()) is None:
                self._require_going_on(life)
                if self._is_welcome and self._clock() >= self._answer_by:
                    raise TimeoutError(
                        f"the gateway did not send {len(wanted)} policies within {_ANSWER_S:g} s; it is "
                        "stuck, or the network is slow"
                    )
                self._changed.wait(_LOOK_S)
            return answer

    def _answered(self) -> memoryview | None:
        answer, self._policies = self._policies, None
        return answer

    def _require_going_on(self, life: int) -> None:
        """Raise AbandonedError where nobody would take what is being sampled."""
        is_late = self._leaving is not None and self._clock() >= self._leaves_by
        if self._ended is not None or life != self._life or is_late:
            raise AbandonedError("the session ended while policies were waited for")

    def forget_weights(self) -> None:
        """Note that the runner has to be given its weights again."""
        with self._changed:
            self._weights.forget()

    def leave(self, reason: str, *, within_s: float) -> None:
        """Finish what was asked for, for at most so long, and end. Not for signal handlers: it locks."""
        with self._changed:
            if self._leaving is not None:
                return
            self._leaving = reason
            self._leaves_at = self._clock() + _LEAVING_S
            self._leaves_by = self._clock() + within_s
            if self._is_welcome and self._connection is not None:
                self._connection.send(encode_sample_request(session.Leaving(reason)))
            self._changed.notify_all()

    def part(self, goodbye: Goodbye) -> None:
        """Say goodbye where there is somebody to hear it, and wait for a moment until it is said."""
        with self._changed:
            if self._connection is not None:
                self._connection.close(encode_sample_request(goodbye))
            self._changed.wait_for(lambda: self._connection is None, _CLOSE_S)

    def _send(self, life: int, head: bytes, pieces: Sequence[Bytes] = ()) -> None:
        with self._changed:
            if life == self._life and self._is_welcome and self._connection is not None:
                self._connection.send(head, pieces)
