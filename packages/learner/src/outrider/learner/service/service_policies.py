"""The policies of learners at a learner service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from outrider.learner.groups.recovery import until_done
from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import StackPlan
from outrider.learner.service.service_connection import LostServiceError, Message
from outrider.learner.service.service_plan import stack_message
from outrider.learner.service.service_session import ServiceSession


class ServicePolicies:
    """The policies of a group at a service; obeys `LearnedPolicies`.

    A change is lasting when it is answered: learners that are made again have it.
    """

    def __init__(
        self,
        service: ServiceSession,
        go_back: Callable[[LostServiceError], object],
        take_in: Callable[[Message], object] = lambda _: None,
    ) -> None:
        """`go_back` finds a service again that is lost; `take_in` gets what else it says meanwhile."""
        self._service = service
        self._go_back = go_back
        self._take_in = take_in

    @property
    def frozen(self) -> frozenset[int]:
        return self._service.changed.frozen

    @property
    def diverged(self) -> Mapping[int, str]:
        return dict(self.ask({"call": "policies"}).get("diverged", ()))

    def policy_metrics(self) -> dict[str, NDArray[Any]]:
        answer = self.ask({"call": "policies"})
        metrics: dict[str, NDArray[Any]] = answer["metrics"]
        return metrics

    def policy_state(self, number: int) -> StateTree:
        call = {"call": "policy_state", "number": number}
        state: StateTree = self.ask(call)["state"]
        return state

    def add(self, stack: StackPlan, *, like: int | None, state: StateTree | None = None) -> None:
        call = {"call": "add", "stack": stack_message(stack), "like": like, "state": state}
        self.ask(call, lambda answer: self._service.changed.added(stack, answer["state"]))

    def remove(self, number: int) -> None:
        call = {"call": "remove", "number": number}
        self.ask(call, lambda _: self._service.changed.removed(number))

    def freeze(self, numbers: Sequence[int]) -> None:
        call = {"call": "freeze", "numbers": list(numbers)}
        self.ask(call, lambda _: self._service.changed.froze(numbers))

    def thaw(self, numbers: Sequence[int]) -> None:
        call = {"call": "thaw", "numbers": list(numbers)}
        self.ask(call, lambda _: self._service.changed.thawed(numbers))

    def ask(
        self, call: dict[str, Any], note: Callable[[dict[str, Any]], None] = lambda _: None
    ) -> dict[str, Any]:
        """Return what the service answers to a call; where it is lost, whoever comes next answers.

        `note` is called with the answer before anything else is heard. Raises ValueError where it cannot be
        done.
        """
        answer = until_done(
            lambda: self._service.ask_policies(call, self._take_in), self._go_back, LostServiceError
        )
        self._service.note(answer, note)
        return answer
