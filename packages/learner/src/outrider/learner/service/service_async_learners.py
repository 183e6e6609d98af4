"""Learners at a learner service that train by themselves.

    put:     backlog --[as far as there is room]--> sent --[a report says that it is done with]--> dropped
    reports: what the service says, as it comes

The service cuts portions and throws away what is too old; it says how many more fragments it takes. What
it has not reported on yet is kept here, and goes to the next service where this one is lost.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from outrider.learner.groups.async_group import check_room
from outrider.learner.groups.group import LearnerGroupStatistics, UpdateReport
from outrider.learner.groups.recovery import until_done
from outrider.learner.learner import StateTree
from outrider.learner.service.report_message import read_report, with_losses
from outrider.learner.service.service_connection import Dial, LostServiceError, Message
from outrider.learner.service.service_learners import Pieces
from outrider.learner.service.service_plan import Plan
from outrider.learner.service.service_policies import ServicePolicies
from outrider.learner.service.service_session import ServiceSession, dialler
from outrider.learner.service.service_terms import LIMITS
from outrider.transport import FragmentReference, WeightsReference
from outrider.transport.received import fragment_pieces
from outrider.transport.security import ClientSecurity
from outrider.wire import decode_tree, session


class ServiceAsyncLearnerGroup:
    """Learners elsewhere that train without pause; obeys `AsyncLearnerGroup`.

    How many rows an update takes, how old they may be and how much may wait is said by the plan's training
    settings; rows are those of each learner of the service.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        address: str,
        security: ClientSecurity,
        needs: frozenset[str] = frozenset(),
        dial: Dial | None = None,
    ) -> None:
        """Dial the service and wait until its learners are made; see `ServiceLearnerGroup`."""
        self._session = ServiceSession(
            plan,
            address=address,
            dial=dial or dialler(address, security),
            asynchronous=True,
            needs=needs,
        )
        self._backlog: deque[Pieces] = deque()
        self._sent: deque[tuple[int, Pieces]] = deque()
        self._room = 0
        """That was told; a service that is lost after that takes none of it back."""
        self._unread: list[UpdateReport] = []
        self._told = self.statistics()
        """What reports have told."""

    @property
    def room(self) -> int:
        try:
            while self._hear(0.0):
                pass
        except LostServiceError:  # `reports` goes back
            self._room = 0
            return 0
        sent = self._session.connection.num_fragments
        self._room = max(0, self._session.last_sequence - sent - len(self._backlog))
        return self._room

    def put(self, fragments: Sequence[FragmentReference]) -> None:
        check_room(len(fragments), max(self._room, self.room))
        self._room = 0
        for fragment in fragments:
            try:
                self._backlog.append(fragment_pieces(fragment))
            except (ConnectionError, TimeoutError):
                self._session.recovery.num_lost_rows += fragment.summary.num_rows
        self._send()

    def reports(self, timeout_s: float) -> list[UpdateReport]:
        """Return what was learned; see `AsyncLearnerGroup`. Takes longer where the service is lost."""
        deadline = time.monotonic() + timeout_s
        while not self._unread:
            left_s = deadline - time.monotonic()
            try:
                heard = self._hear(max(0.0, left_s))
            except LostServiceError as error:
                self._go_back(error)
                continue
            if not heard and left_s <= 0:
                break
        reports, self._unread = self._unread, []
        return reports

    def publish(self) -> WeightsReference:
        return self._session.weights

    def statistics(self) -> LearnerGroupStatistics:
        recovery = self._session.recovery
        return LearnerGroupStatistics(
            num_restarts=recovery.num_restarts,
            num_lost_updates=recovery.num_lost_updates,
            num_lost_rows=recovery.num_lost_rows,
        )

    def learn_what_was_put(self) -> None:
        self.get_state()  # a service has no other word for it; what changed comes before the state

    def get_state(self) -> StateTree:
        """Return the state after what the learners had when they were asked; reports of it are kept."""
        return until_done(lambda: self._session.get_state(self._take_in), self._go_back, LostServiceError)

    def set_state(self, state: StateTree) -> None:
        until_done(lambda: self._session.set_state(state), self._go_back, LostServiceError)

    @property
    def policies(self) -> ServicePolicies:
        """What asks of its policies and changes them, where there are several."""
        return ServicePolicies(self._session, self._go_back, self._take_in)

    def close(self) -> None:
        self._session.close()

    def _hear(self, timeout_s: float) -> bool:
        """Take one message, if one comes in time; return whether one did."""
        taken = self._session.hear(timeout_s)
        if taken is not None:
            self._take_in(taken)
        return taken is not None

    def _take_in(self, taken: Message) -> None:
        message, attachment = taken
        if isinstance(message, session.LearnRoom):
            self._send()
        elif isinstance(message, session.LearnReport):
            while self._sent and self._sent[0][0] <= message.sequence:
                self._sent.popleft()
            self._session.learned(message.version)
            report = read_report(decode_tree(attachment, LIMITS), self._session.weights)
            told, self._told = self._told, self.statistics()
            self._unread.append(with_losses(report, self._told, told))

    def _send(self) -> None:
        connection = self._session.connection
        while self._backlog and connection.num_fragments < self._session.last_sequence:
            pieces = self._backlog.popleft()
            self._sent.append((connection.send_fragment(pieces), pieces))

    def _go_back(self, error: LostServiceError) -> None:
        """Find the service again, and hand to it what the lost one had not reported on."""
        self._session.go_back(error)
        self._backlog.extendleft(pieces for _, pieces in reversed(self._sent))
        self._sent.clear()
        self._send()
