"""The gateway's side of one runner's session, over however many connections: an `Occupant`.

    network's thread                                   driver's thread
    resume, receive, lose ---> RunnerSession <------- ask, offer, get_state, set_state, stop
                                     |
                                     +--------------> Seated: ready, unchecked, leaving, failed, gone

Asks are credits: numbered from 1, they are kept until the fragment that answers them has been checked and
acknowledged, so that a broken connection loses none and none is answered twice. All but the states and the
checks of fragments happens under the gateway's lock and returns at once.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.gateway.invitation import Invitation
from outrider.envrunner.gateway.seats import Seated
from outrider.envrunner.gateway.weights_sent import WeightsSent, size_bytes
from outrider.envrunner.policies.weights_selection import ON_DEMAND
from outrider.transport import FragmentReference, WeightsReference
from outrider.transport.connection import Connection
from outrider.transport.received import ReceivedFragment
from outrider.wire import Bytes, Welcome, WireError, decode_tree, encode_tree, session
from outrider.wire.session import Goodbye, GoodbyeReason
from outrider.wire.session_codec import encode_sample_response
from outrider.wire.stream import goodbye_message

_LOGGER = logging.getLogger("outrider.envrunner")


@dataclass(slots=True)
class Tally:
    """What became of peers, counted under the gateway's lock."""

    num_refused: int = 0
    num_cut_off: int = 0
    num_duplicates: int = 0


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
        self.acknowledged = 0
        """All fragments up to this one are the driver's."""
        self._name = name
        self._invitation = invitation
        self._tally = tally
        self._changed = changed
        self._later = later
        self._connection: Connection | None = None
        self._last_delivered = 0
        """The newest fragment that came over this connection."""
        self._agreed: frozenset[str] = frozenset()
        self._asks: deque[_Ask] = deque()
        """Those above `acknowledged`."""
        self._arrived = 0
        """All fragments up to this one are here, checked or not."""
        self._weights = WeightsSent(invitation)
        self._num_wanted = 0
        """Requests for policies so far."""
        self._has_wanted = self._is_answering = False
        """Whether any came over this connection, and whether the last is unanswered."""
        self._newest_acted = -1
        self._num_requests = 0
        self._request: _StateRequest | None = None

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
        if join.last_ask > self.seated.num_asked:
            self._cut_off(f"it has heard ask {join.last_ask}, and {self.seated.num_asked} was the last")
            return
        self._say_welcome(welcome, resumed=True)
        self._weights.version = join.weights_version
        for ask in self._asks:
            if ask.sequence > self._arrived:
                self._weights.give_newer(ask.weights)
                if ask.sequence > join.last_ask:
                    self._send_ask(ask)
        self.send_offer()
        if self._request is not None and not self._request.is_answered:
            self._send(session.StateRequest(self._request.number), self._request.pieces)

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
                self._take_wanted(connection, message)
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
        ask = _Ask(sequence, weights)
        self._asks.append(ask)
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
        answer = self._call((), timeout_s)
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
        self._call(encode_tree(dict(state)).pieces(), timeout_s)
        with self._changed:
            self._weights.begin_anew(self.seated.num_asked)

    def recast(self, cast: Sequence[Bytes]) -> None:
        """Say that there are other policies. What was asked for waits for weights until it has heard."""
        self._weights.hold()
        self._send_request(_StateRequest(self._num_requests + 1, cast, is_cast=True))

    def stop(self, goodbye: Goodbye) -> None:
        """Say goodbye; the session is over."""
        self.is_over = True
        self._close(goodbye_message(goodbye))

    # Under the lock.

    def _connect(self, connection: Connection, welcome: Welcome) -> None:
        self.patience_ends = inf
        self._last_delivered = 0
        self._has_wanted = self._is_answering = False
        self.identity = connection.identity
        self._agreed = welcome.capabilities
        self._use(connection)
        connection.keep(self._invitation.terms)

    def _use(self, connection: Connection | None) -> None:
        self._connection = connection
        self._weights.connect(connection, self._agreed)

    def _say_welcome(self, welcome: Welcome, *, resumed: bool) -> None:
        self._send(
            session.SessionWelcome(
                welcome=welcome,
                session=self.key,
                resumed=resumed,
                acknowledged=self.acknowledged,
                terms=self._invitation.terms,
            )
        )

    def _take_ready(self) -> None:
        if self.seated.index is None or self.seated.is_ready:
            self._cut_off("it said that it is ready without a new assignment")
            return
        self.seated.ready()

    def _take_fragment(self, sequence: int, version: int | None, attachment: memoryview | None) -> None:
        before, self._last_delivered = self._last_delivered, sequence
        if sequence <= self._arrived:
            self._tally.num_duplicates += 1
            if sequence <= before:  # no resumption explains this one
                self._cut_off(f"fragment {sequence} came after fragment {before} on one connection")
                return
            if sequence <= self.acknowledged:
                self._send(session.Acknowledgement(self.acknowledged))
            return
        if sequence > self.seated.num_asked or attachment is None:
            wrong = "is empty" if attachment is None else "was not asked for"
            self._cut_off(f"fragment {sequence} {wrong}")
            return
        if sequence > self._arrived + 1:
            self._cut_off(f"fragment {sequence} came where {self._arrived + 1} is the next")
            return
        self._arrived = sequence
        ask = next(each for each in self._asks if each.sequence == sequence)
        self.seated.unchecked(sequence, lambda: self._check(ask, version, attachment))

    def _take_state(self, number: int, error: str, attachment: memoryview | None) -> None:
        request = self._request
        if number > self._num_requests:
            self._cut_off(f"it answers state request {number}, which was not made")
        elif request is not None and request.number == number:
            request.is_answered, request.error, request.answer = True, printable(error), attachment
            if request.is_cast:
                self._take_answer_to_cast(request)
            self._changed.notify_all()

    def _take_answer_to_cast(self, request: _StateRequest) -> None:
        """Send the weights that were held back; others may play than those that it was sent before."""
        self._request = None
        if request.error:
            sentence = f"it could not be told of other policies: {request.error}"
            self._close(_goodbye(GoodbyeReason.FAILED, sentence))
            self._end(sentence)
            return
        self._weights.begin_anew(self.seated.num_asked)
        for ask in self._asks:
            if ask.sequence > self._arrived:
                self._weights.give_newer(ask.weights)
        self._weights.send_offer()

    def _take_wanted(self, connection: Connection, wanted: session.PoliciesWanted) -> None:
        """Answer with policies; the same request again where the connection broke before the answer came."""
        policies = np.array(wanted.policies, np.int32)
        weights = self._acting_weights()
        if not self._weights.held.on_demand or weights is None:
            why = "was not sent any weights yet" if self._weights.held.on_demand else f"lacks {ON_DEMAND!r}"
            self._cut_off(f"it wants policies and {why}")
            return
        if self._is_answering:
            self._cut_off(
                f"it wants policies {wanted.request} before it was sent those of request {self._num_wanted}"
            )
            return
        is_again = wanted.request == self._num_wanted and not self._has_wanted
        if wanted.request != self._num_wanted + 1 and not is_again:
            self._cut_off(f"it wants policies {wanted.request} where {self._num_wanted + 1} is the next")
            return
        try:
            self._invitation.check_wanted(policies)
        except ValueError as error:
            self._cut_off(str(error))
            return
        self._num_wanted = wanted.request
        self._has_wanted = self._is_answering = True
        self._weights.held.wants(policies, np.array(wanted.dropped, np.int32))
        self._later(lambda: self._answer_wanted(connection, wanted.request, weights, policies))

    def _acting_weights(self) -> WeightsReference | None:
        """Return those that the runner samples with: of its present ask, or at least as new as it has."""
        present = next((ask for ask in self._asks if ask.sequence == self._arrived + 1), None)
        return self._weights.last if present is None else present.weights or self._weights.last

    def _part(self, goodbye: Goodbye) -> None:
        sentence = printable(goodbye.sentence) or "it said goodbye"
        self.is_over = True
        self._close()
        if goodbye.reason is GoodbyeReason.FAILED:
            self.seated.failed(sentence)
        else:
            self.seated.gone(sentence)
        self._changed.notify_all()

    def _send_ask(self, ask: _Ask) -> None:
        """Send a credit. It may overtake weights; it says which to wait for, where that is not for long."""
        version = self._weights.soon_version if ask.weights is None else ask.weights.version
        self._send(session.Ask(ask.sequence, version))

    def _send_request(self, request: _StateRequest) -> None:
        """Ask for a state or give one; it is said again where the connection breaks before the answer."""
        self._num_requests, self._request = request.number, request
        self._send(session.StateRequest(request.number), request.pieces)

    def _send(self, message: session.SampleResponse, pieces: Sequence[Bytes] = ()) -> None:
        if self._connection is not None:
            self._connection.send(encode_sample_response(message, size_bytes(pieces)), pieces)

    def _cut_off(self, sentence: str) -> None:
        self._tally.num_cut_off += 1
        self._close(_goodbye(GoodbyeReason.MISBEHAVED, sentence))
        self._end(f"it was cut off: {printable(sentence)}")

    def _end(self, sentence: str) -> None:
        self.is_over = True
        self._use(None)
        self.seated.gone(sentence)
        self._changed.notify_all()

    def _close(self, last: bytes = b"") -> None:
        connection = self._connection
        self._use(None)
        if connection is not None:
            connection.close(last)

    # On a thread for what may block, without the lock.

    def _answer_wanted(
        self,
        connection: Connection,
        request: int,
        weights: WeightsReference,
        policies: NDArray[np.int32],
    ) -> None:
        try:
            pieces = self._invitation.policies(weights, policies, self._agreed)
        except Exception as error:  # noqa: BLE001 - whatever it is, others are answered after this
            with self._changed:
                if connection is self._connection:  # over a newer one it says again what it wants
                    sentence = f"policies that it plays cannot be had: {error}"
                    self._close(_goodbye(GoodbyeReason.LATER, sentence))
                    self._end(sentence)
            return
        with self._changed:
            if connection is self._connection:
                self._is_answering = False
                self._send(session.PoliciesDelivery(request), pieces)

    # On the driver's thread, without the lock.

    def _check(self, ask: _Ask, version: int | None, message: memoryview) -> FragmentReference | None:
        """Return the fragment and acknowledge it; None for a bad one, whose sender is cut off.

        `version` is that of the weights which the sender says that it held when it began.
        """
        try:
            fragment = ReceivedFragment(message, self._invitation.fragment_limits)
            newest_acted = self._check_rows(ask, version, fragment)
        except (WireError, ValueError) as error:
            with self._changed:
                if not self.is_over:
                    self._cut_off(f"fragment {ask.sequence} is bad: {error}")
            return None
        with self._changed:
            self._newest_acted = newest_acted
            self._weights.acted(ask.sequence, newest_acted if version is None else version)
            self.acknowledged = ask.sequence
            self._asks.popleft()
            self._send(session.Acknowledgement(ask.sequence))
        return fragment

    def _check_rows(self, ask: _Ask, version: int | None, reference: ReceivedFragment) -> int:
        """Raise ValueError for rows that nobody asked for; return the newest version that acted."""
        assert self.seated.index is not None
        fragment = reference.load()
        rules = self._invitation.rules
        rules.check(fragment, runner=self._invitation.runner(self.seated.index))
        newest = self._weights.newest_version if ask.weights is None else ask.weights.version
        oldest = self._newest_acted if ask.weights is None else newest
        acted = rules.check_versions(fragment, oldest, newest)
        if version is not None and version > newest:
            raise ValueError(
                f"it began with weights version {version}, and {newest} is the newest it may have"
            )
        return self._newest_acted if acted is None else acted

    def _call(self, pieces: Sequence[Bytes], timeout_s: float) -> memoryview | None:
        with self._changed:
            deadline = monotonic() + timeout_s
            request = _StateRequest(self._num_requests + 1, pieces)
            if self._changed.wait_for(lambda: self._request is None or self.is_over, timeout_s):
                self._send_request(request)
                remaining_s = max(0.0, deadline - monotonic())
                self._changed.wait_for(lambda: request.is_answered or self.is_over, remaining_s)
                self._request = None
            if not request.is_answered and self.is_over:
                raise ConnectionError(f"{self._name} is gone")
        if not request.is_answered:
            raise TimeoutError(f"{self._name} did not answer within {timeout_s:g} s")
        if request.error:
            raise ConnectionError(f"{self._name} could not do it: {request.error}")
        return request.answer


@dataclass(frozen=True, slots=True)
class _Ask:
    sequence: int
    weights: WeightsReference | None
    """Which must act; None: the newest that the runner has."""


@dataclass(slots=True)
class _StateRequest:
    number: int
    pieces: Sequence[Bytes]
    is_cast: bool = False
    """Whether nobody waits for the answer, and it says which policies there are."""
    is_answered: bool = False
    error: str = ""
    answer: memoryview | None = None


def printable(text: str, *, at_most: int = 500) -> str:
    """Return what a peer said as one line for logs, without what could pass for something else."""
    shown = text[:at_most]
    return "".join(each if each.isprintable() else " " for each in shown).strip()


def _goodbye(reason: GoodbyeReason, sentence: str) -> bytes:
    return goodbye_message(Goodbye(reason=reason, sentence=sentence))
