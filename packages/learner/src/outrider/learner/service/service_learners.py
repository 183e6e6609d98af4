"""Learners at a learner service, for a training loop that waits for them.

    training loop                                                    outrider-learner
    update: the very bytes of the fragments, then `update` --------> trains
    metrics, and weights that are handed on unread <---------------- publishes
                                                                     (now and then: its state, a snapshot)

A service that goes away is dialled again, starts from the snapshot, and gets the update once more.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeAlias

from outrider.learner.groups.group import LearnerGroupStatistics
from outrider.learner.groups.recovery import until_done
from outrider.learner.learner import StateTree
from outrider.learner.service.report_message import read_report
from outrider.learner.service.service_connection import Dial, LostServiceError
from outrider.learner.service.service_plan import Plan
from outrider.learner.service.service_policies import ServicePolicies
from outrider.learner.service.service_session import ServiceSession, dialler
from outrider.learner.service.service_terms import LIMITS
from outrider.transport import FragmentReference, WeightsReference
from outrider.transport.received import fragment_pieces
from outrider.transport.security import ClientSecurity
from outrider.wire import Bytes, decode_tree, session

Pieces: TypeAlias = Sequence[Bytes]


class ServiceLearnerGroup:
    """Learners elsewhere that the training loop waits for; obeys `LearnerGroup`."""

    def __init__(
        self,
        plan: Plan,
        *,
        address: str,
        security: ClientSecurity,
        needs: frozenset[str] = frozenset(),
        dial: Dial | None = None,
    ) -> None:
        """Dial the service and wait until its learners are made; `dial` takes the place of gRPC.

        `needs` are capabilities without which it cannot read fragments. Raises what `ServiceSession` raises.
        """
        self._session = ServiceSession(
            plan,
            address=address,
            dial=dial or dialler(address, security),
            asynchronous=False,
            needs=needs,
        )
        self._elsewhere = LearnerGroupStatistics()
        """What the service's own group lost and went on from."""

    def update(self, fragments: Sequence[FragmentReference]) -> dict[str, float]:
        """Train there. A fragment that went with the node that held it is left out and counted."""
        held = [pieces for fragment in fragments if (pieces := self._pieces_of(fragment))]
        if not held:
            return {}
        return until_done(lambda: self._update(held), self._session.go_back, LostServiceError)

    def publish(self) -> WeightsReference:
        return self._session.weights

    def statistics(self) -> LearnerGroupStatistics:
        recovery, elsewhere = self._session.recovery, self._elsewhere
        return LearnerGroupStatistics(
            num_restarts=recovery.num_restarts + elsewhere.num_restarts,
            num_lost_updates=recovery.num_lost_updates + elsewhere.num_lost_updates,
            num_lost_rows=recovery.num_lost_rows + elsewhere.num_lost_rows,
        )

    def get_state(self) -> StateTree:
        """Return the learners' state; that of the snapshot, where the service is lost meanwhile."""
        return until_done(self._session.get_state, self._session.go_back, LostServiceError)

    def set_state(self, state: StateTree) -> None:
        until_done(lambda: self._session.set_state(state), self._session.go_back, LostServiceError)

    @property
    def policies(self) -> ServicePolicies:
        """What asks of its policies and changes them, where there are several."""
        return ServicePolicies(self._session, self._session.go_back)

    def close(self) -> None:
        self._session.close()

    def _update(self, held: Sequence[Pieces]) -> dict[str, float]:
        connection = self._session.connection
        for pieces in held:
            connection.send_fragment(pieces)
        connection.send(session.LearnUpdate(connection.num_fragments))
        deadline = time.monotonic() + self._session.timeout_s
        while True:
            message, attachment = self._session.hear_before(deadline, "finish an update")
            if isinstance(message, session.LearnReport) and message.sequence == connection.num_fragments:
                break
        report = read_report(decode_tree(attachment, LIMITS), self._session.weights)
        self._elsewhere = LearnerGroupStatistics(
            num_restarts=self._elsewhere.num_restarts + report.num_restarts,
            num_lost_updates=self._elsewhere.num_lost_updates + report.num_lost_updates,
            num_lost_rows=self._elsewhere.num_lost_rows + report.num_lost_rows,
        )
        self._session.learned(message.version)
        return dict(report.metrics)

    def _pieces_of(self, fragment: FragmentReference) -> Pieces:
        try:
            return fragment_pieces(fragment)
        except (ConnectionError, TimeoutError):
            self._session.recovery.num_lost_rows += fragment.summary.num_rows
            return ()
