"""What a runner elsewhere was asked for and the driver does not have yet, over however many connections.

    add ---> to be answered --- arrived ---> here, unchecked --- check, acknowledge ---> the driver's

Asks are credits: numbered from 1, they are kept until the fragment that answers them has been checked and
acknowledged, so that a broken connection loses none and none is answered twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from outrider.envrunner.gateway.invitation import Invitation
from outrider.transport import WeightsReference
from outrider.wire import Fragment


@dataclass(frozen=True, slots=True)
class Ask:
    """A credit for one fragment."""

    sequence: int
    weights: WeightsReference | None
    """Which must act; None: the newest that the runner has."""


class OpenAsks:
    """Keeps asks until they are acknowledged. All but `check` under the gateway's lock."""

    def __init__(self, invitation: Invitation) -> None:
        """Nothing was asked for yet."""
        self._invitation = invitation
        self.arrived = 0
        """All fragments up to this one are here, checked or not."""
        self.acknowledged = 0
        """All fragments up to this one are the driver's."""
        self._asks: deque[Ask] = deque()
        """Those above `acknowledged`."""
        self._last_delivered = 0
        """The newest fragment that came over this connection."""
        self._newest_acted = -1

    @property
    def num_asked(self) -> int:
        """How many there were so far, which is the number of the last."""
        return self.acknowledged + len(self._asks)

    @property
    def to_be_answered(self) -> Sequence[Ask]:
        """Those whose fragments are not here, in turn."""
        return [ask for ask in self._asks if ask.sequence > self.arrived]

    def connect(self) -> None:
        """Take fragments over another connection from now on."""
        self._last_delivered = 0

    def add(self, ask: Ask) -> None:
        """Keep the next ask."""
        self._asks.append(ask)

    def take(self, sequence: int, *, is_empty: bool) -> Ask | None:
        """Return the ask that a fragment answers; None for one that came before, over another connection.

        Raises ValueError for one that comes out of turn.
        """
        before, self._last_delivered = self._last_delivered, sequence
        if sequence <= self.arrived:
            if sequence <= before:  # no resumption explains this one
                raise ValueError(f"fragment {sequence} came after fragment {before} on one connection")
            return None
        if sequence > self.num_asked or is_empty:
            wrong = "is empty" if is_empty else "was not asked for"
            raise ValueError(f"fragment {sequence} {wrong}")
        if sequence > self.arrived + 1:
            raise ValueError(f"fragment {sequence} came where {self.arrived + 1} is the next")
        ask = self.to_be_answered[0]
        self.arrived = sequence
        return ask

    def check(self, ask: Ask, fragment: Fragment, *, seat: int, held: int | None, newest_sent: int) -> int:
        """Return the newest version that acted in the fragment that answers the oldest ask.

        `held` is the version that the sender says that it held when it began, `newest_sent` that of the
        newest weights that it was sent. Raises ValueError for rows that nobody asked for.
        """
        rules = self._invitation.rules
        rules.check(fragment, runner=self._invitation.runner(seat))
        newest = newest_sent if ask.weights is None else ask.weights.version
        oldest = self._newest_acted if ask.weights is None else newest
        acted = rules.check_versions(fragment, oldest, newest)
        if held is not None and held > newest:
            raise ValueError(f"it began with weights version {held}, and {newest} is the newest it may have")
        return self._newest_acted if acted is None else acted

    def acknowledge(self, newest_acted: int) -> None:
        """Forget the oldest ask: its fragment is the driver's, and this version acted in it."""
        self._newest_acted = newest_acted
        self.acknowledged = self._asks.popleft().sequence
