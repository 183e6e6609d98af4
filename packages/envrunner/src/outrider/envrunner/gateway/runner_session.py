"""The gateway's side of one runner's session, over however many connections: an `Occupant`.

    network's thread                                   driver's thread
    resume, receive, lose ---> RunnerSession <------- ask, offer, get_state, set_state, stop
                                     |
                                     +--------------> Seated: ready, unchecked, leaving, failed, gone

It routes messages and decides whether the session goes on. What the runner owes is kept by `OpenAsks`, what
it was sent by `WeightsSent`, what it wants by `WantedPolicies`, what it is asked besides by `StateRequests`.
All but the states and the checks of fragments happens under the gateway's lock and returns at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from math import inf
from time import monotonic
from typing import Any

from outrider.envrunner.gateway.invitation import Invitation
from outrider.envrunner.gateway.open_asks import Ask, OpenAsks
from outrider.envrunner.gateway.peer_log import Tally, printable
from outrider.envrunner.gateway.seats import Seated
from outrider.envrunner.gateway.state_requests import StateRequests
from outrider.envrunner.gateway.wanted_policies import WantedPolicies
from outrider.envrunner.gateway.weights_sent import WeightsSent, send
from outrider.transport import FragmentReference, WeightsReference
from outrider.transport.connection import Connection
from outrider.transport.received import ReceivedFragment
from outrider.wire import Bytes, Welcome, WireError, decode_tree, encode_tree, session
from outrider.wire.session import Goodbye, GoodbyeReason
from outrider.wire.stream import goodbye_message

_LOGGER = logging.getLogger("outrider.envrunner")


class RunnerSession:
    """What a runner elsewhere was asked for and has answered."""

    def __init__(
        self,
        key: str,
        name: str,
        invitation: Invitation,
        tally: Tally,
        changed: threading.Condition,
        later: Callable[[Callable[[], None]], None],
    ) -> None:
        """Begin without a connection; `changed` is the gateway's lock.

        What may block is given to `later`, which returns at once.
        """
        self.key = key
        """Secret: whoever knows it can take the session over."""
        self.identity = ""
        """Whom its connection has proved to be."""
        self.seated: Seated
        """To be set before anything is received."""
        self.is_over = False
        self.patience_ends = inf
        """When a runner whose connection broke must be back."""
        self._name = name
        self._invitation = invitation
        self._tally = tally
        self._changed = changed
        self._connection: Connection | None = None
        self._agreed: frozenset[str] = frozenset()
        self._asks = OpenAsks(invitation)
        self._weights = WeightsSent(invitation)
        self._wanted = WantedPolicies(
            invitation, changed, later, lambda why: self._send_away(GoodbyeReason.LATER, why)
        )
        self._states = StateRequests(name, changed, self._send)

    # What the network's thread does, under the lock.

    def begin(self, connection: Connection, welcome: Welcome) -> None:
        """Welcome a runner that is new."""
        self._connect(connection, welcome)
        self._say_welcome(welcome, resumed=False)

    def resume(self, connection: Connection, welcome: Welcome, join: session.Join) -> None:
        """Go on over another connection: tell what has arrived, and say again what may be lost."""
        if self._connection is not None:
            sentence = "the session goes on over another connection"
            self._connection.close(_goodbye(GoodbyeReason.LATER, sentence))
        self._connect(connection, welcome)
        if join.last_ask > self._asks.num_asked:
            self._cut_off(f"it has heard ask {join.last_ask}, and {self._asks.num_asked} was the last")
            return
        self._say_welcome(welcome, resumed=True)
        self._weights.version = join.weights_version
        for ask in self._asks.to_be_answered:
            self._weights.give_newer(ask.weights)
            if ask.sequence > join.last_ask:
                self._send_ask(ask)
        self.send_offer()
        self._states.say_again()

    def receive(
        self, connection: Connection, message: session.SampleRequest | None, attachment: memoryview | None
    ) -> None:
        """Take a message; one of an earlier connection counts for nothing."""
        if connection is not self._connection or self.is_over:
            return
        match message:
            case session.Ready():
                self._take_ready()
            case session.FragmentDelivery(sequence, version):
                self._take_fragment(sequence, version, attachment)
            case session.StateDelivery(number, error):
                self._take_state(number, error, attachment)
            case session.PoliciesWanted():
                self._take_wanted(message)
            case session.Leaving(reason):
                self.seated.leaving(printable(reason))
            case Goodbye():
                self._part(message)
            case session.Join():
                self._cut_off("it said join twice on one connection")
            case _:
                pass  # of a newer release

    def lose(self, connection: Connection, reason: str) -> None:
        """Note that the connection broke; a runner that is ready and broke no rule may come back."""
        if connection is not self._connection or self.is_over:
            return
        self._use(None)
        if connection.broke_rule:
            self._tally.num_cut_off += 1
            self._end(reason)
        elif not self.seated.is_ready:
            self._end(f"its connection broke before it was ready: {reason}")
        else:
            wait_s = self._invitation.terms.session_timeout_s
            self.patience_ends = monotonic() + wait_s
            _LOGGER.warning("lost touch with %s and wait %g s: %s", self.seated.title, wait_s, reason)

    def give_up(self) -> None:
        """End a session whose runner did not come back."""
        wait_s = self._invitation.terms.session_timeout_s
        self._end(f"its connection broke, and it did not come back within reconnect_timeout_s={wait_s:g}")

    def break_rule(self, sentence: str) -> None:
        """Send the runner away, because it broke a rule of its streams."""
        if not self.is_over:
            self._cut_off(sentence)

    # What the driver does: `Occupant`.

    @property
    def name(self) -> str:
        """For operators."""
        return self._name

    @property
    def asks_for_policies(self) -> bool:
        """Whether the runner asks for policies that it plays, where there are many."""
        return self._weights.held.on_demand

    def assign(self, index: int, incarnation: int) -> None:
        """Send the assignment and the policy graph."""
        self._weights.begin()
        assignment = self._invitation.assignment(index, incarnation, self._agreed)
        self._send(assignment, self._invitation.graph)

    def ask(self, sequence: int, weights: WeightsReference | None) -> None:
        """Send a credit, and before it the weights that it needs."""
        ask = Ask(sequence, weights)
        self._asks.add(ask)
        self._weights.give_exact(weights)
        self._send_ask(ask)

    def offer(self, weights: WeightsReference) -> None:
        """Send newer weights, once those that are on their way are out."""
        self._weights.offer(weights)

    def send_offer(self) -> None:
        """Send what was offered and could not be sent before, or was lost on the way."""
        self._weights.send_offer()

    def get_state(self, timeout_s: float) -> Mapping[str, Any]:
        """Ask for the state and wait."""
        answer = self._states.call((), timeout_s)
        try:
            state = None if answer is None else decode_tree(answer, self._invitation.state_limits)
            if isinstance(state, Mapping):
                self._invitation.rules.check_state(state)
                return state
            wrong: object = "none is attached" if state is None else "it is no map"
        except (WireError, ValueError) as error:
            wrong = error
        with self._changed:
            self.break_rule(f"its state cannot be read: {wrong}")
        raise ConnectionError(f"the state of {self._name} cannot be read")

    def set_state(self, state: Mapping[str, Any], timeout_s: float) -> None:
        """Send a state and wait until the runner has taken it over; its weights are sent again after it."""
        self._invitation.rules.go_on_from(state)
        self._states.call(encode_tree(dict(state)).pieces(), timeout_s)
        with self._changed:
            self._weights.begin_anew(self._asks.num_asked)

    def recast(self, cast: Sequence[Bytes]) -> None:
        """Say that there are other policies. What was asked for waits for weights until it has heard."""
        self._weights.hold()
        self._states.tell(cast, self._heard_cast)

    def stop(self, goodbye: Goodbye) -> None:
        """Say goodbye; the session is over."""
        self._set_over()
        self._close(goodbye_message(goodbye))

    # Under the lock.

    def _connect(self, connection: Connection, welcome: Welcome) -> None:
        self.patience_ends = inf
        self.identity = connection.identity
        self._agreed = welcome.capabilities
        self._asks.connect()
        self._use(connection)
        connection.keep(self._invitation.terms)

    def _use(self, connection: Connection | None) -> None:
        self._connection = connection
        self._weights.connect(connection, self._agreed)
        self._wanted.connect(connection, self._agreed)

    def _say_welcome(self, welcome: Welcome, *, resumed: bool) -> None:
        self._send(
            session.SessionWelcome(
                welcome=welcome,
                session=self.key,
                resumed=resumed,
                acknowledged=self._asks.acknowledged,
                terms=self._invitation.terms,
            )
        )

    def _take_ready(self) -> None:
        if self.seated.index is None or self.seated.is_ready:
            self._cut_off("it said that it is ready without a new assignment")
            return
        self.seated.ready()

    def _take_fragment(self, sequence: int, version: int | None, attachment: memoryview | None) -> None:
        self._tally.num_duplicates += sequence <= self._asks.arrived
        try:
            ask = self._asks.take(sequence, is_empty=attachment is None)
        except ValueError as error:
            self._cut_off(str(error))
            return
        if ask is not None and version is None and self._wanted.num_taken:
            # Its rows may be newer than what it has of the policies that it did not ask for since.
            self._cut_off(
                f"fragment {sequence} does not say with which weights it began, which who asks for policies "
                "must; say it in FragmentDelivery.weights_version"
            )
        elif ask is not None:
            assert attachment is not None
            self.seated.unchecked(sequence, lambda: self._check(ask, version, attachment))
        elif sequence <= self._asks.acknowledged:
            self._send(session.Acknowledgement(self._asks.acknowledged))

    def _take_state(self, number: int, error: str, attachment: memoryview | None) -> None:
        if number > self._states.num_made:
            self._cut_off(f"it answers state request {number}, which was not made")
        else:
            self._states.take(number, printable(error), attachment)

    def _heard_cast(self, error: str) -> None:
        """Send the weights that were held back; others may play than those that it was sent before."""
        if error:
            self._send_away(GoodbyeReason.FAILED, f"it could not be told of other policies: {error}")
            return
        self._weights.begin_anew(self._asks.num_asked)
        for ask in self._asks.to_be_answered:
            self._weights.give_newer(ask.weights)
        self._weights.send_offer()

    def _take_wanted(self, wanted: session.PoliciesWanted) -> None:
        """Answer out of the weights of the present ask, or of newer ones."""
        present = next(iter(self._asks.to_be_answered), None)
        weights = self._weights.last if present is None else present.weights or self._weights.last
        try:
            self._wanted.take(wanted, self._weights.held, weights)
        except ValueError as error:
            self._cut_off(str(error))

    def _part(self, goodbye: Goodbye) -> None:
        sentence = printable(goodbye.sentence) or "it said goodbye"
        self._set_over()
        self._close()
        if goodbye.reason is GoodbyeReason.FAILED:
            self.seated.failed(sentence)
        else:
            self.seated.gone(sentence)

    def _send_ask(self, ask: Ask) -> None:
        """Send a credit. It may overtake weights; it says which to wait for, where that is not for long."""
        version = self._weights.soon_version if ask.weights is None else ask.weights.version
        self._send(session.Ask(ask.sequence, version))

    def _send(self, message: session.SampleResponse, pieces: Sequence[Bytes] = ()) -> None:
        if self._connection is not None:
            send(self._connection, message, pieces)

    def _cut_off(self, sentence: str) -> None:
        self._tally.num_cut_off += 1
        self._close(_goodbye(GoodbyeReason.MISBEHAVED, sentence))
        self._end(f"it was cut off: {printable(sentence)}")

    def _send_away(self, reason: GoodbyeReason, sentence: str) -> None:
        self._close(_goodbye(reason, sentence))
        self._end(sentence)

    def _end(self, sentence: str) -> None:
        self._set_over()
        self._use(None)
        self.seated.gone(sentence)

    def _set_over(self) -> None:
        self.is_over = True
        self._states.end()

    def _close(self, last: bytes = b"") -> None:
        connection = self._connection
        self._use(None)
        if connection is not None:
            connection.close(last)

    # On the driver's thread, without the lock.

    def _check(self, ask: Ask, version: int | None, message: memoryview) -> FragmentReference | None:
        """Return the fragment and acknowledge it; None for a bad one, whose sender is cut off.

        `version` is that of the weights which the sender says that it held when it began.
        """
        assert self.seated.index is not None
        try:
            fragment = ReceivedFragment(message, self._invitation.fragment_limits)
            newest_acted = self._asks.check(
                ask,
                fragment.load(),
                seat=self.seated.index,
                held=version,
                newest_sent=self._weights.newest_version,
            )
        except (WireError, ValueError) as error:
            with self._changed:
                if not self.is_over:
                    self._cut_off(f"fragment {ask.sequence} is bad: {error}")
            return None
        with self._changed:
            self._asks.acknowledge(newest_acted)
            self._weights.acted(ask.sequence, newest_acted if version is None else version)
            self._send(session.Acknowledgement(ask.sequence))
        return fragment


def _goodbye(reason: GoodbyeReason, sentence: str) -> bytes:
    return goodbye_message(Goodbye(reason=reason, sentence=sentence))
