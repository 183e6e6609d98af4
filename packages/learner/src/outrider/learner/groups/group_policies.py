"""Policies of a group of ranks: each change goes to those that have the policy, and is made there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from outrider.learner.groups.dealt_calls import Answer
from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.learner.stacks.numbers_in_words import in_words
from outrider.learner.stacks.stack_metrics import by_policy


class ChangingRanks(Protocol):
    """A group of ranks, between two updates."""

    @property
    def num_ranks(self) -> int:
        """How many ranks there are."""
        ...

    def ask(self, rank: int, name: str, *arguments: Any) -> Answer:  # noqa: ANN401 - plain values
        """Return a rank's answer to a call that changes nothing."""
        ...

    def change(self, calls: Sequence[Sequence[tuple[Any, ...]]], plan: MultiAgentPlan) -> None:
        """Make calls, each a rank, a name and arguments, all of one sequence at once and one after another.

        `plan` is what ranks are made of after that. Raises what the first sequence of calls raises; then
        nothing has changed.
        """
        ...


class GroupPolicies:
    """The policies of a group of ranks; obeys `LearnedPolicies`.

    A rank that dies costs no change: the group takes a snapshot after each.
    """

    def __init__(
        self, group: ChangingRanks, plan: MultiAgentPlan, to_message: Callable[[StackPlan], dict[str, Any]]
    ) -> None:
        """`plan` is the group's, which makes later ranks of the plans that come of it.

        `to_message` writes down the plan of a policy that is added, as ranks read it.
        """
        self._group = group
        self._plan = plan
        self._to_message = to_message

    @property
    def frozen(self) -> frozenset[int]:
        return frozenset(number for answer in self._ask_all() for number in answer["frozen"])

    @property
    def diverged(self) -> Mapping[int, str]:
        return {number: why for answer in self._ask_all() for number, why in answer.get("diverged", ())}

    def policy_metrics(self) -> dict[str, NDArray[Any]]:
        answers = self._ask_all()
        return by_policy([answer["numbers"] for answer in answers], [answer["metrics"] for answer in answers])

    def policy_state(self, number: int) -> StateTree:
        state: StateTree = self._group.ask(self._owners(number)[0], "policy_state", number)["state"]
        return state

    def add(self, stack: StackPlan, *, like: int | None, state: StateTree | None = None) -> None:
        (number,) = stack.seeds
        if like is not None:
            state = self.policy_state(like)
        self._change(number, "add_policy", self._to_message(stack), state, plan=self._plan.with_policy(stack))

    def remove(self, number: int) -> None:
        self._change(number, "remove_policy", number, plan=self._plan.without(number))

    def freeze(self, numbers: Sequence[int]) -> None:
        self._freeze("freeze", numbers)

    def thaw(self, numbers: Sequence[int]) -> None:
        self._freeze("thaw", numbers)

    def _ask_all(self) -> list[Answer]:
        holders = self._plan.sharing.holders(self._group.num_ranks)
        return [self._group.ask(rank, "policies") for rank in holders]

    def _owners(self, number: int) -> range:
        return self._plan.sharing.owners(number, self._group.num_ranks)

    def _change(self, number: int, name: str, *arguments: Any, plan: MultiAgentPlan) -> None:  # noqa: ANN401
        """Let those change who have the policy, and then the others count with them."""
        owners = self._owners(number)
        others = [rank for rank in range(self._group.num_ranks) if rank not in owners]
        changes = [(rank, name, *arguments) for rank in owners]
        self._group.change([changes, [(rank, "count_change") for rank in others]], plan)
        self._plan = plan

    def _freeze(self, name: str, numbers: Sequence[int]) -> None:
        known = {number for stack in self._plan.stacks for number in stack.seeds}
        if unknown := sorted(set(numbers) - known):  # before a rank that has others changes these
            raise ValueError(f"there is no policy {unknown[0]}; there are {in_words(sorted(known))}")
        parts: dict[int, list[int]] = {}
        for number in numbers:
            for rank in self._owners(number):
                parts.setdefault(rank, []).append(number)
        self._group.change([[(rank, name, part) for rank, part in parts.items()]], self._plan)
