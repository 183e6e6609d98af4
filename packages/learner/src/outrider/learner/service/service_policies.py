"""The policies of learners at a learner service."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import StackPlan
from outrider.learner.service.changed_policies import ChangedPolicies
from outrider.learner.service.service_plan import stack_message


class AsksPolicies(Protocol):
    """A learner group at a service."""

    @property
    def changed(self) -> ChangedPolicies:
        """What is kept of changes."""
        ...

    def ask_policies(self, call: dict[str, Any], note: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Return what the service answers to a call; where it is lost, whoever comes next answers.

        `note` is called with the answer before anything else is heard. Raises ValueError where it cannot be
        done.
        """
        ...


class ServicePolicies:
    """The policies of a group at a service; obeys `LearnedPolicies`.

    A change is lasting when it is answered: learners that are made again have it.
    """

    def __init__(self, group: AsksPolicies) -> None:
        self._group = group

    @property
    def frozen(self) -> frozenset[int]:
        return self._group.changed.frozen

    def policy_metrics(self) -> dict[str, NDArray[Any]]:
        answer = self._group.ask_policies({"call": "policies"}, lambda _: None)
        metrics: dict[str, NDArray[Any]] = answer["metrics"]
        return metrics

    def policy_state(self, number: int) -> StateTree:
        call = {"call": "policy_state", "number": number}
        state: StateTree = self._group.ask_policies(call, lambda _: None)["state"]
        return state

    def add(self, stack: StackPlan, *, like: int | None, state: StateTree | None = None) -> None:
        call = {"call": "add", "stack": stack_message(stack), "like": like, "state": state}
        self._group.ask_policies(call, lambda answer: self._group.changed.added(stack, answer["state"]))

    def remove(self, number: int) -> None:
        call = {"call": "remove", "number": number}
        self._group.ask_policies(call, lambda _: self._group.changed.removed(number))

    def freeze(self, numbers: Sequence[int]) -> None:
        call = {"call": "freeze", "numbers": list(numbers)}
        self._group.ask_policies(call, lambda _: self._group.changed.froze(numbers))

    def thaw(self, numbers: Sequence[int]) -> None:
        call = {"call": "thaw", "numbers": list(numbers)}
        self._group.ask_policies(call, lambda _: self._group.changed.thawed(numbers))
