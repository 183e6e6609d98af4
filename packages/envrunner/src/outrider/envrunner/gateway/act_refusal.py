"""Sends environments away that a run does not act for (`ActService.Act`), in a sentence. A `Receiver`."""

from __future__ import annotations

import logging

from outrider.envrunner.gateway.peer_log import Tally, printable
from outrider.envrunner.gateway.seats import Seats
from outrider.envrunner.introduction import introduction
from outrider.transport.connection import Connection
from outrider.wire import Refusal, RefusalReason, Welcome, encode_act_response
from outrider.wire.session import Goodbye, GoodbyeReason, SessionWelcome

_LOGGER = logging.getLogger("outrider.envrunner")
_SENTENCE = (
    "the training run has several agents, and acts for environments of one agent only; join it as "
    "outrider-farm does, with runners that act themselves (RunnerService)"
)


class ActRefusal:
    """Whoever connects is refused before it has said a word: whatever it says, it does not fit."""

    def __init__(self, seats: Seats, tally: Tally) -> None:
        """Count those who were refused under the gateway's lock."""
        self._seats = seats
        self._tally = tally

    def opened(self, connection: Connection) -> None:
        """Refuse."""
        hello = introduction("the training run")
        refusal = Refusal(reason=RefusalReason.CAPABILITY, sentence=_SENTENCE)
        welcome = Welcome(component=hello.component, protocol=hello.protocol, refusal=refusal)
        with self._seats.changed:
            self._tally.num_refused += 1
        _LOGGER.warning("refused %s: %s", printable(connection.peer), _SENTENCE)
        connection.send(encode_act_response(SessionWelcome(welcome=welcome)))
        connection.close(encode_act_response(Goodbye(reason=GoodbyeReason.REFUSED, sentence=_SENTENCE)))

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        """Take nothing of what it has said meanwhile."""

    def closed(self, connection: Connection, reason: str) -> None:
        """Forget it."""
