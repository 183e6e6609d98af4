"""Lets runners in that dial: the gateway's side of all streams of `RunnerService.Sample`.

a connection --- join ---> does it fit?  --no--> refused, in a sentence
                               | yes
               the session that it names, if that waits  --> resumed
               otherwise a new one                       --> a seat, or a place among those who wait
"""

from __future__ import annotations

import logging
import secrets
from time import monotonic

from outrider.envrunner.gateway.invitation import Invitation
from outrider.envrunner.gateway.peer_log import Tally, printable
from outrider.envrunner.gateway.runner_session import RunnerSession
from outrider.envrunner.gateway.seats import Seats
from outrider.envrunner.policies.later import Later
from outrider.transport import WeightsReference
from outrider.transport.connection import Connection
from outrider.wire import WireError, session
from outrider.wire.session import Goodbye, GoodbyeReason
from outrider.wire.session_codec import decode_sample_request, encode_sample_response
from outrider.wire.stream import goodbye_message

_LOGGER = logging.getLogger("outrider.envrunner")
_JOIN_S = 10.0
"""How long a connection may be up before it says who it is."""


class RunnerService:
    """A `Receiver` for all connections of runners."""

    def __init__(self, seats: Seats, invitation: Invitation, tally: Tally) -> None:
        """Let runners in to these seats."""
        self._seats = seats
        self._invitation = invitation
        self._tally = tally
        self._later = Later("outrider-policies")
        self._sessions: dict[str, RunnerSession] = {}
        self._by_connection: dict[Connection, RunnerSession] = {}
        self._strangers: dict[Connection, float] = {}
        """Connections that have not said who they are, and since when."""

    def prepare(self, weights: WeightsReference) -> None:
        """Encode what those who are there are sent while they have nothing; may block."""
        with self._seats.changed:
            kinds = {each.asks_for_policies for each in self._sessions.values()}
        for kind in kinds:
            self._invitation.prepare(weights, on_demand=kind)

    def opened(self, connection: Connection) -> None:
        """Wait for the join."""
        connection.keep(self._invitation.terms)
        with self._seats.changed:
            self._strangers[connection] = monotonic()

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        """Take a message."""
        try:
            message = decode_sample_request(head, self._invitation.limits)
        except WireError as error:
            self._cut_off(connection, str(error))
            return
        known = self._by_connection.get(connection)
        if known is not None:
            with self._seats.changed:
                known.receive(connection, message, attachment)
        elif isinstance(message, session.Join):
            self._let_in(connection, message)
        elif not isinstance(message, Goodbye) and connection in self._strangers:
            self._cut_off(connection, "a runner says join first")

    def closed(self, connection: Connection, reason: str) -> None:
        """Note that a connection is gone."""
        with self._seats.changed:
            is_stranger = self._strangers.pop(connection, None) is not None
            self._tally.num_cut_off += is_stranger and connection.broke_rule
            known = self._by_connection.pop(connection, None)
            if known is not None:
                known.lose(connection, printable(reason))
                self._forget_those_over()

    def close(self) -> None:
        """Answer nobody any more."""
        self._later.close()

    def tend(self) -> None:
        """Give up those that did not come back or say who they are, and send what could not be sent before.

        Called again and again by the driver.
        """
        with self._seats.changed:
            now = monotonic()
            for each in self._sessions.values():
                each.send_offer()
                if not each.is_over and now >= each.patience_ends:
                    each.give_up()
            self._forget_those_over()
            silent = [each for each, since in self._strangers.items() if now - since >= _JOIN_S]
        for connection in silent:
            # Maybe the network hangs, and it is to dial again.
            sentence = f"it did not say join within {_JOIN_S:g} s"
            self._cut_off(connection, sentence, GoodbyeReason.LATER)

    def _let_in(self, connection: Connection, join: session.Join) -> None:
        is_stranger = not self._seats.is_reserved(join.session)
        welcome = self._invitation.welcome(join, is_stranger=is_stranger)
        name = printable(join.name, at_most=80) or "a runner"
        if connection.peer != "unix:":
            name += f" ({connection.peer})"
        if welcome.refusal is not None:
            self._refuse(connection, name, session.SessionWelcome(welcome=welcome))
            return
        with self._seats.changed:
            self._strangers.pop(connection, None)
            known = self._sessions.get(join.session)
            if known is not None and known.identity != connection.identity:
                _LOGGER.warning("%s names the session of somebody else, and gets one of its own", name)
                known = None
            if known is not None and not known.is_over and known.seated.is_ready:
                _LOGGER.warning("%s is in touch again: %s", known.seated.title, connection.peer)
                self._by_connection[connection] = known
                known.resume(connection, welcome, join)
                return
            _LOGGER.info("%s dials in: %s", name, printable(join.hello.component))
            key = secrets.token_urlsafe(24) if is_stranger else join.session
            entered = RunnerSession(
                key, name, self._invitation, self._tally, self._seats.changed, self._later.do
            )
            self._sessions[key] = self._by_connection[connection] = entered
            entered.begin(connection, welcome)
            entered.seated = self._seats.occupy(entered, "" if is_stranger else join.session)

    def _refuse(self, connection: Connection, name: str, answer: session.SessionWelcome) -> None:
        assert answer.welcome.refusal is not None
        sentence = answer.welcome.refusal.sentence
        _LOGGER.warning("refused %s: %s", name, printable(sentence))
        with self._seats.changed:
            self._tally.num_refused += 1
            self._strangers.pop(connection, None)
        connection.send(encode_sample_response(answer))
        connection.close(goodbye_message(Goodbye(reason=GoodbyeReason.REFUSED, sentence=sentence)))

    def _cut_off(
        self, connection: Connection, sentence: str, reason: GoodbyeReason = GoodbyeReason.MISBEHAVED
    ) -> None:
        with self._seats.changed:
            known = self._by_connection.get(connection)
            if known is not None:
                known.break_rule(sentence)
                return
            if self._strangers.pop(connection, None) is None:
                return
            self._tally.num_cut_off += 1
        _LOGGER.warning("cut off %s: %s", connection.peer, printable(sentence))
        connection.close(goodbye_message(Goodbye(reason=reason, sentence=sentence)))

    def _forget_those_over(self) -> None:
        self._sessions = {key: each for key, each in self._sessions.items() if not each.is_over}
