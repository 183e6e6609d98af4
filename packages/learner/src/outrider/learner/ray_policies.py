"""Policies that are dealt to ranks on Ray: each change goes to the rank that has the policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cloudpickle
from numpy.typing import NDArray

from outrider.learner.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.learner.policy_slices import rank_of
from outrider.learner.ray_learners import RayLearnerGroup
from outrider.learner.ray_rank import Answer
from outrider.learner.stack_metrics import by_policy


class RayPolicies:
    """The policies of a group of ranks; obeys `LearnedPolicies`.

    A rank that dies costs no change: the group takes a snapshot after each.
    """

    def __init__(self, group: RayLearnerGroup, plan: MultiAgentPlan) -> None:
        """`plan` is the group's, which makes later ranks of the plans that come of it."""
        self._group = group
        self._plan = plan

    @property
    def frozen(self) -> frozenset[int]:
        return frozenset(number for answer in self._ask_all() for number in answer["frozen"])

    def policy_metrics(self) -> dict[str, NDArray[Any]]:
        answers = self._ask_all()
        return by_policy([answer["numbers"] for answer in answers], [answer["metrics"] for answer in answers])

    def add(self, stack: StackPlan, *, like: int | None) -> None:
        (number,) = stack.seeds
        state = None
        if like is not None:
            state = self._group.ask(self._rank_of(like), "policy_state", like)["state"]
        message = stack.to_message(cloudpickle.dumps)
        self._change(number, "add_policy", message, state, plan=self._plan.with_policy(stack))

    def remove(self, number: int) -> None:
        self._change(number, "remove_policy", number, plan=self._plan.without(number))

    def freeze(self, numbers: Sequence[int]) -> None:
        self._freeze("freeze", numbers)

    def thaw(self, numbers: Sequence[int]) -> None:
        self._freeze("thaw", numbers)

    def _ask_all(self) -> list[Answer]:
        return [self._group.ask(rank, "policies") for rank in range(self._group.num_ranks)]

    def _rank_of(self, number: int) -> int:
        return rank_of(number, self._group.num_ranks)

    def _change(self, number: int, name: str, *arguments: Any, plan: MultiAgentPlan) -> None:  # noqa: ANN401
        """Let one rank change, and then the others count with it."""
        owner = self._rank_of(number)
        others = [(rank, "count_change") for rank in range(self._group.num_ranks) if rank != owner]
        self._group.change([[(owner, name, *arguments)], others], plan)
        self._plan = plan

    def _freeze(self, name: str, numbers: Sequence[int]) -> None:
        parts: dict[int, list[int]] = {}
        for number in numbers:
            parts.setdefault(self._rank_of(number), []).append(number)
        self._group.change([[(rank, name, part) for rank, part in parts.items()]], self._plan)
