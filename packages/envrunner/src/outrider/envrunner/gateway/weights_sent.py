"""Which weights a runner elsewhere was sent, over however many connections, and what of others it needs.

All of it happens under the gateway's lock.
"""

from __future__ import annotations

from collections.abc import Sequence

from outrider.envrunner.gateway.invitation import Invitation
from outrider.envrunner.policies.weights_selection import ON_DEMAND, HeldElsewhere
from outrider.transport import WeightsReference
from outrider.transport.connection import Connection
from outrider.wire import Bytes, session
from outrider.wire.session_codec import encode_sample_response

_SOON_BYTES = 2**20
"""Weights up to this size are there within milliseconds: runners may wait for them, and none is left out
unless more than that waits already, as it does for a runner that reads slowly."""


class WeightsSent:
    """Sends a runner weights that it does not have."""

    def __init__(self, invitation: Invitation) -> None:
        """It has none yet."""
        self._invitation = invitation
        self._agreed: frozenset[str] = frozenset()
        self._connection: Connection | None = None
        self.version: int | None = None
        """Of those that were sent last; None where it has none, or nobody knows."""
        self.newest_version = -1
        """Of all that it was ever sent."""
        self.last: WeightsReference | None = None
        """Those that were sent last, to anybody or into a connection that broke."""
        self.held = HeldElsewhere(on_demand=False)
        """Policies that it has."""
        self._is_there_soon = True
        """Whether the last are small."""
        self._base: int | None = None
        """Version of the weights that the runner has all that it needs of; None: nobody knows."""
        self._num_before_base = 0
        """Asks up to this one say nothing of that: the runner was told to begin anew since."""
        self._is_holding = False
        """Whether the runner will forget what it is sent now."""
        self._offered: WeightsReference | None = None
        """The newest that were offered, unless others were to act since."""

    @property
    def soon_version(self) -> int | None:
        """Of the last, where a runner need not wait long for them."""
        return self.version if self._is_there_soon else None

    def connect(self, connection: Connection | None, agreed: frozenset[str]) -> None:
        """Send over this connection from now on, what both sides understand; None: nothing."""
        self._connection, self._agreed = connection, agreed

    def begin(self) -> None:
        """Begin with a runner that was just assigned."""
        self.held = HeldElsewhere(on_demand=ON_DEMAND in self._agreed)

    def begin_anew(self, num_asked: int) -> None:
        """Take a runner that was asked for so many fragments for one that has nothing."""
        self.version = self._base = None
        self._num_before_base = num_asked
        self._is_holding = False

    def hold(self) -> None:
        """Send nothing until the runner begins anew."""
        self._is_holding = True

    def acted(self, sequence: int, version: int) -> None:
        """Note which version acted in the fragment of an ask: the runner has all of it."""
        if sequence > self._num_before_base:
            self._base = version

    def give_exact(self, weights: WeightsReference | None) -> None:
        """Send the weights of an ask, unless the runner has them."""
        if weights is not None and weights.version != self.version:
            self._offered = None
            self._give(weights)

    def give_newer(self, weights: WeightsReference | None) -> None:
        """Send the weights of an ask to a runner that has none, or older ones."""
        if self.version is None or (weights and weights.version > self.version):
            self.give_exact(weights)

    def offer(self, weights: WeightsReference) -> None:
        """Send newer weights, once those that are on their way are out."""
        self._offered = weights
        self.send_offer()

    def send_offer(self) -> None:
        """Send what was offered and could not be sent before, or was lost on the way."""
        weights, connection = self._offered, self._connection
        if weights is None or connection is None or weights.version == self.version:
            return
        room_bytes = _SOON_BYTES if self._is_there_soon else 0
        if connection.num_bytes_to_send <= room_bytes:
            self._give(weights)

    def _give(self, weights: WeightsReference) -> None:
        if self._connection is None or self._is_holding:
            return
        self.version = weights.version
        self.newest_version = max(self.newest_version, weights.version)
        self.last = weights
        pieces = self._invitation.weights(weights, self._agreed, self._base, self.held)
        self._is_there_soon = _size_bytes(pieces) <= _SOON_BYTES
        send(self._connection, session.WeightsDelivery(weights.version), pieces)


def send(connection: Connection, message: session.SampleResponse, pieces: Sequence[Bytes] = ()) -> None:
    """Send a runner a message and what is attached to it."""
    connection.send(encode_sample_response(message, _size_bytes(pieces)), pieces)


def _size_bytes(pieces: Sequence[Bytes]) -> int:
    return sum(memoryview(piece).nbytes for piece in pieces)
