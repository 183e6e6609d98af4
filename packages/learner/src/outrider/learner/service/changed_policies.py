"""What a run has changed of its policies since the state that it would go back to. Free of torch.

    state of    0 1          since then: 2 added, 1 removed, 0 frozen
    go back:    start a plan of 0 1 from the state --> add 2, as it was then --> remove 1 --> freeze 0

So a change costs no state of all policies, and is there again as exactly as what the state is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.learner.service.service_plan import plan_message, stack_message


class ChangedPolicies:
    """The policies that a run has, and those changes of which the newest state knows nothing."""

    def __init__(self, plan: MultiAgentPlan) -> None:
        """Begin with what `plan` makes."""
        self._plan = plan
        """Of all policies that there are, or were in the newest state."""
        self._changes: list[dict[str, Any]] = []
        """Calls by which policies came and went, as `LearnPolicies` has them. Each made a version."""
        self.frozen = plan.frozen
        """Numbers of the policies that do not train."""

    @property
    def num_versions(self) -> int:
        """Versions of the weights that the changes made."""
        return len(self._changes)

    def added(self, stack: StackPlan, state: StateTree) -> None:
        """Note a policy that was added, and what it goes on from."""
        self._plan = self._plan.with_policy(stack)
        message = stack_message(stack)
        self._changes.append({"call": "add", "stack": message, "like": None, "state": state})

    def removed(self, number: int) -> None:
        """Note a policy that was removed."""
        self._changes.append({"call": "remove", "number": number})
        self.frozen -= {number}

    def froze(self, numbers: Sequence[int]) -> None:
        """Note policies that were frozen."""
        self.frozen |= set(numbers)

    def thawed(self, numbers: Sequence[int]) -> None:
        """Note policies that train again."""
        self.frozen -= set(numbers)

    def keep(self, state: StateTree) -> None:
        """Forget all changes, which a newer state has: it was asked for, or handed over, after the last."""
        self._plan = self._plan.only(_numbers(state).__contains__)
        self._changes = []

    def set_state(self, state: StateTree) -> None:
        """Go on from a state of the policies that there are now."""
        self._plan = self._plan.only(self._present().__contains__)
        self._changes = []
        self.frozen = frozenset(state["frozen"])

    def plan(self) -> dict[str, Any]:
        """Return the message of a plan of the policies that there are now."""
        return plan_message(self._plan.only(self._present().__contains__))

    def plan_of(self, state: StateTree) -> dict[str, Any]:
        """Return the message of a plan of the policies that a state has."""
        return plan_message(self._plan.only(_numbers(state).__contains__))

    def calls_after(self, state: StateTree) -> list[dict[str, Any]]:
        """Return what makes learners that go on from the newest state have all changes."""
        calls = list(self._changes)
        frozen = frozenset(state["frozen"])
        if freeze := sorted(self.frozen - frozen):
            calls.append({"call": "freeze", "numbers": freeze})
        if thaw := sorted((frozen - self.frozen) & self._present()):
            calls.append({"call": "thaw", "numbers": thaw})
        return calls

    def _present(self) -> frozenset[int]:
        gone = {change["number"] for change in self._changes if change["call"] == "remove"}
        return frozenset(number for stack in self._plan.stacks for number in stack.seeds) - gone


def _numbers(state: StateTree) -> set[int]:
    return {number for part in state["stacks"].values() for number in part["numbers"].tolist()}
