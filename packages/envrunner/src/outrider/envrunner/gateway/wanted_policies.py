"""Sends a runner elsewhere the policies that it asks for, where there are many and it holds few."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.gateway.invitation import Invitation
from outrider.envrunner.gateway.weights_sent import send
from outrider.envrunner.policies.weights_selection import ON_DEMAND, HeldElsewhere
from outrider.transport import WeightsReference
from outrider.transport.connection import Connection
from outrider.wire import session


class WantedPolicies:
    """Answers one request after the other. Under the gateway's lock, but for encoding."""

    def __init__(
        self,
        invitation: Invitation,
        changed: threading.Condition,
        later: Callable[[Callable[[], None]], None],
        not_had: Callable[[str], None],
    ) -> None:
        """Encode by `later`; `not_had` is called with the reason where policies cannot be had."""
        self._invitation = invitation
        self._changed = changed
        self._later = later
        self._not_had = not_had
        self._connection: Connection | None = None
        self._agreed: frozenset[str] = frozenset()
        self.num_taken = 0
        """Requests so far."""
        self._is_first = True
        """Whether none came over this connection."""
        self._is_answering = False

    def connect(self, connection: Connection | None, agreed: frozenset[str]) -> None:
        """Take requests over this connection from now on, and answer no others; None: none."""
        self._connection, self._agreed = connection, agreed
        self._is_first, self._is_answering = True, False

    def take(
        self, wanted: session.PoliciesWanted, held: HeldElsewhere, weights: WeightsReference | None
    ) -> None:
        """Answer with policies of `weights`, which the runner samples with, and note that it holds them.

        The same request comes again where the connection broke before the answer. Raises ValueError for
        one that breaks a rule.
        """
        policies = np.array(wanted.policies, np.int32)
        if not held.on_demand or weights is None:
            why = "was not sent any weights yet" if held.on_demand else f"lacks {ON_DEMAND!r}"
            raise ValueError(f"it wants policies and {why}")
        if self._is_answering:
            raise ValueError(
                f"it wants policies {wanted.request} before it was sent those of request {self.num_taken}"
            )
        is_again = wanted.request == self.num_taken and self._is_first
        if wanted.request != self.num_taken + 1 and not is_again:
            raise ValueError(f"it wants policies {wanted.request} where {self.num_taken + 1} is the next")
        self._invitation.check_wanted(policies)
        self.num_taken = wanted.request
        self._is_first, self._is_answering = False, True
        held.wants(policies, np.array(wanted.dropped, np.int32))
        connection = self._connection
        assert connection is not None
        self._later(lambda: self._answer(connection, wanted.request, weights, policies))

    def _answer(
        self, connection: Connection, request: int, weights: WeightsReference, policies: NDArray[np.int32]
    ) -> None:
        """Encode without the lock; over a newer connection the runner says again what it wants."""
        try:
            pieces = self._invitation.policies(weights, policies, self._agreed)
        except Exception as error:  # noqa: BLE001 - whatever it is, others are answered after this
            with self._changed:
                if connection is self._connection:
                    self._not_had(f"policies that it plays cannot be had: {error}")
            return
        with self._changed:
            if connection is self._connection:
                self._is_answering = False
                send(connection, session.PoliciesDelivery(request), pieces)
