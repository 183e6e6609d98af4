"""What a learner service does for one algorithm process: answers what comes on its stream.

    hello --> welcome           start --> the learners are made, weights, ready

    synchronous                                     asynchronous
    fragment, fragment, update                      fragment --> waiting --[the learners have room]--> put
      --> trains, weights, report                   `work`: reports as they come, and room as it grows

What has nothing attached overtakes what has: an update may be asked for before its fragments are here.
All of it happens in the thread that trains; the network's thread only queues.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from outrider.learner.groups.group import (
    AsyncLearnerGroup,
    LearnerGroup,
    LearnerGroupStatistics,
    UpdateReport,
)
from outrider.learner.groups.introduction import introduction
from outrider.learner.groups.rank_error import LostRankError
from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.service.changed_weights import ChangedWeights
from outrider.learner.service.report_message import report_message, with_losses
from outrider.learner.service.served_groups import ServedGroups
from outrider.learner.service.served_policies import ServedPolicies
from outrider.learner.service.service_plan import read_plan
from outrider.learner.service.service_terms import LIMITS, TERMS
from outrider.transport import WeightsReference
from outrider.transport.connection import Connection
from outrider.transport.received import ReceivedFragment, weights_pieces
from outrider.wire import (
    Bytes,
    Hello,
    WireError,
    answer_hello,
    decode_tree,
    encode_learn_response,
    encode_tree,
    session,
)

MAX_WAITING_BYTES = 2**34
"""Bytes of fragments that may wait for one update."""
_STATE_WAIT_S, _MAX_STATE_WAITS = 0.1, 20
"""Learners that have trained on all that they were given report at once."""
_SOON_BYTES = 2**20
"""What waits to be sent and is no more than this is there within milliseconds."""
_LOGGER = logging.getLogger("outrider.learner.service")


class RefusedError(ValueError):
    """What an algorithm asks for cannot be had here; the sentence goes to it."""


class ServedRun:
    """The learners of one algorithm, and what was said to it."""

    def __init__(
        self, connection: Connection, groups: ServedGroups, *, network_modules: Sequence[str]
    ) -> None:
        """Begin without learners; networks of users come from `network_modules`."""
        self.connection = connection
        self.algorithm = ""
        """Its name once there are learners."""
        self.num_updates = 0
        self.num_rows = 0
        self.version = 0
        self._groups = groups
        self._network_modules = network_modules
        self._greeted = False
        self._plan: Mapping[str, Any] | None = None
        self._group: LearnerGroup | None = None
        self._async_group: AsyncLearnerGroup | None = None
        self._weights = ChangedWeights()
        self._weights_bytes = 0
        """Of the weights that were sent last."""
        self._policies: ServedPolicies | None = None
        """None where there is one."""
        self._waiting: deque[ReceivedFragment] = deque()
        self._waiting_bytes = 0
        self._last_sequence = 0
        """Of the fragments that came."""
        self._done_sequence = 0
        """Of the fragments that learners are done with."""
        self._update_at = 0
        """The fragment that completes the update that was asked for last."""
        self._room = 0
        self._elsewhere = LearnerGroupStatistics()

    @property
    def is_asynchronous(self) -> bool:
        """Whether `work` has to be called again and again."""
        return self._async_group is not None

    @property
    def is_greeted(self) -> bool:
        """Whether a hello came and was welcome."""
        return self._greeted

    @property
    def is_started(self) -> bool:
        """Whether there are learners."""
        return self._group is not None or self._async_group is not None

    def receive(self, message: session.LearnRequest, attachment: memoryview) -> None:
        """Do what is asked.

        Raises WireError where the algorithm breaks a rule, RefusedError for a plan or state that does not
        fit, and whatever goes wrong in training.
        """
        if not self._greeted and not isinstance(message, Hello | session.Goodbye):
            raise WireError(f"{type(message).__name__} came before a hello; begin with one")
        match message:
            case Hello():
                self._greet(message)
            case session.LearnStart():
                self._start(message, attachment)
            case session.LearnFragment():
                self._take(message, attachment)
            case session.LearnUpdate():
                self._ask_for_update(message)
            case session.LearnStateRequest() if message.request:
                self._hand_over(message.request)
            case session.LearnPolicies():
                self._ask_policies(message.request, decode_tree(attachment, LIMITS))
            case _:
                pass

    def work(self) -> None:
        """Hand fragments over to learners that train by themselves, and report what they did.

        Neither where weights before the last still wait to be sent: the run reads slowly.
        """
        group = self._async_group
        if group is None or self.connection.num_bytes_to_send > max(_SOON_BYTES, self._weights_bytes):
            return
        while self._waiting and (room := group.room):
            fragments = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
            self._waiting_bytes -= sum(len(each.message) for each in fragments)
            group.put(fragments)
        for report in group.reports(0):
            self._report(report)
        room = self._last_sequence if self._waiting else self._last_sequence + group.room
        if room > self._room:
            self._room = room
            self._send(session.LearnRoom(room))

    def hand_over(self) -> bool:
        """Hand the state over unasked, if there is one; returns whether it was sent."""
        with suppress(TimeoutError, LostRankError):
            if self.is_started:
                self._hand_over(0)
                return True
        return False

    def leave(self, sentence: str) -> None:
        """Say that dialling again later may help."""
        goodbye = session.Goodbye(reason=session.GoodbyeReason.LATER, sentence=sentence)
        self.connection.close(encode_learn_response(goodbye))

    def end(self) -> None:
        """Stop the learners. Ending twice does nothing."""
        group, self._group = self._group or self._async_group, None
        self._async_group = self._policies = None
        self._plan = None
        if group is not None:
            group.close()

    def _greet(self, hello: Hello) -> None:
        welcome = answer_hello(hello, introduction("a learner service"))
        self._send(session.LearnWelcome(welcome=welcome, terms=None if welcome.refusal else TERMS))
        if welcome.refusal is not None:
            self.connection.close()
            _LOGGER.warning("refused %s: %s", self.connection.peer, welcome.refusal.sentence)
            return
        self._greeted = True
        self.connection.keep(TERMS)
        _LOGGER.info("connected: %s, %s", self.connection.peer, hello.component)

    def _start(self, start: session.LearnStart, attachment: memoryview) -> None:
        tree = decode_tree(attachment, LIMITS)
        if not isinstance(tree, dict) or not isinstance(tree.get("plan"), dict):
            raise WireError("a start without a plan; attach a map with plan and state")
        try:
            self._make(tree["plan"], start.asynchronous)
            if tree.get("state") is not None:
                self._running().set_state(tree["state"])
        except (ValueError, KeyError, TypeError) as error:
            raise RefusedError(str(error)) from error
        self._waiting.clear()
        self._waiting_bytes = 0
        self._done_sequence = self._last_sequence
        self._elsewhere = LearnerGroupStatistics()
        self._weights = ChangedWeights()
        self._room = 0 if self._async_group is None else self._last_sequence + self._async_group.room
        self._publish()
        self._send(session.LearnReady(num_learners=self._groups.num_learners, room=self._room))
        origin = "anew" if tree.get("state") is None else f"from version {self.version}"
        _LOGGER.info("trains %s %s, for %s", self.algorithm, origin, self.connection.peer)

    def _make(self, message: dict[str, Any], is_asynchronous: bool) -> None:  # noqa: FBT001 - as the wire says it
        is_used = self._last_sequence > self._done_sequence or self.num_updates > 0
        if message == self._plan and is_asynchronous == self.is_asynchronous and not is_used:
            return
        self.end()
        plan = read_plan(message, self._network_modules)
        self.algorithm = plan.algorithm
        if isinstance(plan, MultiAgentPlan):
            self._make_policies(plan, is_asynchronous=is_asynchronous)
        elif is_asynchronous:
            self._async_group = self._groups.make_async(plan)
        else:
            self._group = self._groups.make(plan)
        self._plan = message

    def _make_policies(self, plan: MultiAgentPlan, *, is_asynchronous: bool) -> None:
        if is_asynchronous:
            self._async_group, policies = self._groups.make_async_policies(plan)
        else:
            self._group, policies = self._groups.make_policies(plan)
        self._policies = ServedPolicies(policies, plan, self._network_modules)

    def _take(self, fragment: session.LearnFragment, attachment: memoryview) -> None:
        self._running()
        if fragment.sequence != self._last_sequence + 1:
            raise WireError(f"fragment {fragment.sequence} came after {self._last_sequence}; count up by one")
        if self._async_group is not None and fragment.sequence > self._room:
            raise WireError(f"fragment {fragment.sequence} came where there was room up to {self._room}")
        self._last_sequence = fragment.sequence
        self._waiting_bytes += len(attachment)
        if self._waiting_bytes > MAX_WAITING_BYTES:
            raise WireError(f"fragments of over {MAX_WAITING_BYTES} bytes wait; ask for updates more often")
        self._waiting.append(ReceivedFragment(attachment, LIMITS))
        self._update()

    def _ask_for_update(self, update: session.LearnUpdate) -> None:
        """Train once the last of the fragments is here, which small messages overtake."""
        self._running()
        if self._group is None:
            raise WireError(
                "an update was asked for, of learners that train by themselves; only hand fragments in"
            )
        if update.sequence <= self._done_sequence:
            raise WireError(
                f"an update was asked for up to fragment {update.sequence}, which had one; hand in more"
            )
        self._update_at = update.sequence
        self._update()

    def _update(self) -> None:
        if self._group is None or self._last_sequence != self._update_at or not self._waiting:
            return
        fragments = list(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        metrics = self._group.update(fragments)
        weights = self._group.publish()
        report = UpdateReport(
            num_updates=1,
            num_rows=sum(each.summary.num_rows for each in fragments),
            metrics=metrics,
            weights=weights,
            staleness={},
            num_stale_rows=0,
            work_s=0.0,
            wait_s=0.0,
            queue_depth=0.0,
            num_fragments=len(fragments),
        )
        before, self._elsewhere = self._elsewhere, self._group.statistics()
        self._report(with_losses(report, self._elsewhere, before))

    def _report(self, report: UpdateReport) -> None:
        self._done_sequence += report.num_fragments
        self.num_updates += report.num_updates
        self.num_rows += report.num_rows
        if report.weights.version > self.version:  # a change of policies may have published newer ones
            self.version = report.weights.version
            self._send_weights(report.weights)
        tree = encode_tree(report_message(report))
        self._send(session.LearnReport(sequence=self._done_sequence, version=self.version), tree.pieces())

    def _publish(self) -> None:
        weights = self._running().publish()
        self.version = weights.version
        self._send_weights(weights)

    def _send_weights(self, weights: WeightsReference) -> None:
        """Send weights; where there are several policies only those that changed, if they are few."""
        version, since = weights.version, 0
        if self._policies is not None:
            weights, since = self._weights.to_send(weights)
        pieces = weights_pieces(weights)
        self._weights_bytes = sum(memoryview(piece).nbytes for piece in pieces)
        self._send(session.LearnWeights(version, since), pieces)

    def _hand_over(self, request: int) -> None:
        """Send the state, and before it the reports of all updates that are in it."""
        state: StateTree = self._running().get_state()
        self._report_up_to(state["version"])
        self._send(session.LearnState(request), encode_tree(state).pieces())

    def _report_up_to(self, version: int) -> None:
        """Report all updates up to a version that asynchronous learners have reached.

        Not all versions are of updates: ranks that went back count one, and nothing is reported of it.
        """
        num_waits = 0
        while self._async_group is not None and self.version < version and num_waits < _MAX_STATE_WAITS:
            num_waits += 1
            for report in self._async_group.reports(_STATE_WAIT_S):
                self._report(report)
                num_waits = 0

    def _ask_policies(self, request: int, call: Any) -> None:  # noqa: ANN401 - a tree that a stranger sent
        """Answer what is asked about policies, after the reports of all updates before it."""
        group = self._running()
        if self._policies is None:
            raise WireError("policies were asked for of learners that have one; send a start with several")
        self._plan = None  # these are other learners than it made
        if self._async_group is not None:
            self._policies.rest()
            self._report_up_to(group.publish().version)
        try:
            answer = self._policies.answer(call)
        except WireError:
            raise
        except ValueError as error:
            answer = {"error": str(error)}
        if group.publish().version > self.version:
            self._publish()
        tree = encode_tree({"version": self.version, **answer})
        self._send(session.LearnPoliciesAnswer(request), tree.pieces())

    def _running(self) -> LearnerGroup | AsyncLearnerGroup:
        group = self._group or self._async_group
        if group is None:
            raise WireError("there are no learners yet; send a start first")
        return group

    def _send(self, message: session.LearnResponse, pieces: Sequence[Bytes] = ()) -> None:
        size_bytes = sum(memoryview(piece).nbytes for piece in pieces)
        self.connection.send(encode_learn_response(message, attachment_bytes=size_bytes), pieces)
