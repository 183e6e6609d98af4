"""A run at a learner service, over as many connections as it takes.

    dial --> start, from a state --> ... --> the connection breaks --> dial again --> start, from the snapshot

Holds what both kinds of group need: the newest weights, and the snapshot to go back to.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from outrider.learner.groups.introduction import SEVERAL_POLICIES
from outrider.learner.groups.recovery import Recovery
from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.plans.rank_state import copied
from outrider.learner.service.changed_policies import ChangedPolicies
from outrider.learner.service.changed_weights import put_together
from outrider.learner.service.service_connection import Dial, LostServiceError, Message, ServiceConnection
from outrider.learner.service.service_plan import Plan, plan_message
from outrider.learner.service.service_terms import LIMITS, SERVICE
from outrider.transport import LocalWeights, WeightsReference
from outrider.transport.connection import Connection, DialError, Receiver
from outrider.transport.received import ReceivedWeights
from outrider.transport.security import ClientSecurity
from outrider.wire import decode_tree, encode_tree, session

_DIAL_TIMEOUT_S = 10.0
_BACK_OFF_S = (0.1, 5.0)
"""The first wait before dialling again, and the longest. They double in between."""
_LOGGER = logging.getLogger("outrider.learner")


class ServiceSession:
    """What a group holds of its service; every method is called by the training loop's thread."""

    def __init__(
        self, plan: Plan, *, address: str, dial: Dial, asynchronous: bool, needs: frozenset[str]
    ) -> None:
        """Dial, and wait until the learners are made.

        Raises ValueError where the service refuses, or the plan has no plain form; ConnectionError where it
        is not there within `learner_start_timeout_s`.
        """
        self._plan = plan_message(plan)
        self._changed: ChangedPolicies | None = None
        if isinstance(plan, MultiAgentPlan):
            self._changed = ChangedPolicies(plan)
            needs |= SEVERAL_POLICIES
        self._address = address
        self._dial = dial
        self._needs = needs
        self._asynchronous = asynchronous
        self._start_timeout_s = plan.settings.learner_start_timeout_s
        self.timeout_s = plan.settings.learner_timeout_s
        self._num_requests = 0
        self._recovery: Recovery | None = None
        self._snapshot: int | None = None
        """Number of the request for a snapshot that is under way."""
        self.weights: WeightsReference
        self.ready: session.LearnReady
        self.last_sequence = 0
        """Of the fragments that it takes."""
        self.connection: ServiceConnection
        self._recovery = Recovery(
            self._first_state(),
            num_updates_between_snapshots=plan.settings.num_updates_between_snapshots,
            max_restarts=plan.settings.max_learner_restarts,
        )

    @property
    def recovery(self) -> Recovery:
        """What it goes back to."""
        assert self._recovery is not None, "made by the constructor"
        return self._recovery

    @property
    def changed(self) -> ChangedPolicies:
        """What is kept of changes of policies, where there are several."""
        assert self._changed is not None, "asked for where there are several"
        return self._changed

    def hear(self, timeout_s: float) -> Message | None:
        """Return the next message, or None. Weights are kept first, and every state as the snapshot."""
        taken = self.connection.take(timeout_s)
        if taken is None:
            return None
        message, attachment = taken
        if isinstance(message, session.LearnWeights):
            self.weights = self._with_changed(message, attachment)
        elif isinstance(message, session.LearnState) and self._recovery is not None:
            if message.request == self._snapshot:
                self._snapshot = None
            state = read_state(attachment)
            self._recovery.keep(state)
            if self._changed is not None:
                self._changed.keep(state)
        elif isinstance(message, session.LearnRoom):
            self.last_sequence = max(self.last_sequence, message.last_sequence)
        return taken

    def hear_before(self, deadline: float, what: str) -> Message:
        """Return the next message; raises TimeoutError, which says what did not come."""
        taken = self.hear(max(0.0, deadline - time.monotonic()))
        if taken is None:
            raise TimeoutError(
                f"the learner service at {self._address} did not {what} within {self.timeout_s:g} s; raise "
                "learner_timeout_s, or see to it"
            )
        return taken

    def learned(self, version: int) -> None:
        """Note that an update ended, and ask for a snapshot where it is time for one."""
        self.recovery.learned(version)
        if self._snapshot is None and self.recovery.is_due:
            self._snapshot = self._ask_for_state()

    def get_state(self, take_in: Callable[[Message], object] = lambda _: None) -> StateTree:
        """Return the state as it is when no update is under way; `take_in` gets what else comes."""
        request = self._ask_for_state()
        deadline = time.monotonic() + self.timeout_s
        while True:
            message, attachment = taken = self.hear_before(deadline, "hand over its state")
            take_in(taken)
            if isinstance(message, session.LearnState) and message.request == request:
                state: StateTree = read_state(attachment)
                return state

    def set_state(self, state: StateTree) -> None:
        """Start anew from a state that the user chose."""
        self._start(self._plan if self._changed is None else self._changed.plan(), state)
        if self._changed is not None:
            self._changed.set_state(state)
        self.recovery.set_state(copied(state))

    def go_back(self, error: LostServiceError) -> None:
        """Dial again and go on from the snapshot, with weights newer than any that were seen.

        Raises RuntimeError after too many times in a row, ConnectionError where the service stays away.
        """
        began = time.monotonic()
        while True:
            state = self.recovery.go_back(str(error))
            try:
                self._connect_again(state)
            except LostServiceError as again:
                error = again
                continue
            _LOGGER.warning("the learners are back after %.1f s", time.monotonic() - began)
            return

    def close(self) -> None:
        """Leave the service."""
        self.connection.close()

    def ask_policies(
        self, call: Mapping[str, Any], take_in: Callable[[Message], object] = lambda _: None
    ) -> dict[str, Any]:
        """Ask about policies, or for a change of them, and return the answer; `take_in` gets what else comes.

        Raises ValueError where it could not be done, LostServiceError, and TimeoutError.
        """
        self._num_requests += 1
        request, deadline = self._num_requests, time.monotonic() + self.timeout_s
        self.connection.send(session.LearnPolicies(request), encode_tree(call).pieces())
        while True:
            taken = self.hear_before(deadline, "answer what was asked of policies")
            message, attachment = taken
            if isinstance(message, session.LearnPoliciesAnswer) and message.request == request:
                break
            take_in(taken)
        answer: dict[str, Any] = read_state(attachment)
        if error := answer.get("error"):
            raise ValueError(str(error))
        return answer

    def note(self, answer: Mapping[str, Any], note: Callable[[dict[str, Any]], None]) -> None:
        """Let `note` write a change down, of which nothing is lost from here on."""
        before = self.changed.num_versions
        note(dict(answer))
        self.recovery.changed(self.changed.num_versions - before, int(answer["version"]))

    def _with_changed(self, message: session.LearnWeights, attachment: memoryview) -> WeightsReference:
        """Return the weights that came, as they came unless they are only what changed."""
        received = ReceivedWeights(attachment, message.version, LIMITS)
        if not message.since:
            return received
        if self.weights.version != message.since:
            raise LostServiceError(
                f"the learner service sent what changed since version {message.since}, and version "
                f"{self.weights.version} came before"
            )
        return LocalWeights(put_together(self.weights.load(), received.load()))

    def _connect_again(self, state: StateTree) -> None:
        """Go on from a state, and make changes again that it does not have."""
        if self._changed is None:
            self._connect(self._plan, state)
            return
        self._connect(self._changed.plan_of(state), state)
        version = int(state["version"])
        for call in self._changed.calls_after(state):
            version = int(self.ask_policies(call)["version"])
        self.recovery.changed(self._changed.num_versions, version)

    def _first_state(self) -> StateTree:
        """Have learners made, and return what they begin from; again, where the service is lost meanwhile."""
        deadline = time.monotonic() + self._start_timeout_s
        while True:
            try:
                self._connect(self._plan, None)
                return self.get_state()
            except LostServiceError as error:
                if time.monotonic() + _BACK_OFF_S[0] > deadline:
                    raise ConnectionError(
                        f"the learner service at {self._address} was lost whenever it had learners to make, "
                        f"for learner_start_timeout_s={self._start_timeout_s:g}: {error}; see to its machine"
                    ) from error
                _LOGGER.warning("the learners are made again, because %s", error)
            time.sleep(_BACK_OFF_S[0])

    def _ask_for_state(self) -> int:
        self._num_requests += 1
        self.connection.send(session.LearnStateRequest(self._num_requests))
        return self._num_requests

    def _connect(self, plan: Mapping[str, Any], state: StateTree | None) -> None:
        self.connection = self._dial_until_there()
        try:
            self._start(plan, state)
        except BaseException:
            self.connection.close()
            raise
        _LOGGER.info(
            "%d learners at %s train (%s)",
            self.ready.num_learners,
            self._address,
            self.connection.component,
        )

    def _start(self, plan: Mapping[str, Any], state: StateTree | None) -> None:
        """Say what to train, and wait until the learners are made and have published.

        That they are made may be heard first: what has nothing attached overtakes what has.
        """
        self._snapshot = None
        self.last_sequence = 0
        tree = encode_tree({"plan": plan, "state": state})
        self.connection.send(session.LearnStart(asynchronous=self._asynchronous), tree.pieces())
        deadline = time.monotonic() + self._start_timeout_s
        awaited = {session.LearnWeights, session.LearnReady}
        while awaited:
            taken = self.hear(max(0.0, deadline - time.monotonic()))
            if taken is None:
                raise LostServiceError(
                    f"the learner service at {self._address} made no learners within "
                    f"{self._start_timeout_s:g} s (learner_start_timeout_s)"
                )
            if isinstance(taken[0], session.LearnReady):
                self.ready = taken[0]
                self.last_sequence = max(self.last_sequence, self.ready.room)
            awaited.discard(type(taken[0]))

    def _dial_until_there(self) -> ServiceConnection:
        deadline = time.monotonic() + self._start_timeout_s
        wait_s, longest_s = _BACK_OFF_S
        told = ""
        while True:
            try:
                return ServiceConnection(self._dial, _DIAL_TIMEOUT_S, needs=self._needs)
            except (DialError, LostServiceError) as error:
                if isinstance(error, DialError) and error.is_final:
                    raise
                if time.monotonic() + wait_s > deadline:
                    raise ConnectionError(
                        f"there was no learner service for this run at {self._address} within "
                        f"learner_start_timeout_s={self._start_timeout_s:g}: {error}"
                    ) from error
                if str(error) != told:
                    told = str(error)
                    _LOGGER.warning("waiting for the learner service: %s", told)
            time.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads those who wait
            wait_s = min(2 * wait_s, longest_s)


def dialler(address: str, security: ClientSecurity) -> Dial:
    """Return what dials a service over gRPC."""
    from outrider.transport.grpc_dialer import dial

    def connect(receiver: Receiver, timeout_s: float) -> Connection:
        return dial(address, SERVICE, receiver, security=security, limits=LIMITS, timeout_s=timeout_s)

    return connect


def read_state(attachment: memoryview) -> Any:  # noqa: ANN401 - a StateTree
    """Return a state whose arrays are this process's own."""
    return copied(decode_tree(attachment, LIMITS))
