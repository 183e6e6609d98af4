"""Which policies a run has now: their names, numbers, stacks, and what they have of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outrider.algorithm.policies.policy_plan import PlannedStack
from outrider.algorithm.settings.setting_value import to_json
from outrider.envrunner.nearest import no_such
from outrider.envrunner.policies.policy_entry import PolicyEntry


@dataclass(frozen=True, kw_only=True, slots=True)
class BookedPolicy:
    """A policy of the run."""

    name: str
    number: int
    """From 0, never used again."""
    stack: str
    """Name of its stack."""
    planned: int
    """Which of the stacks that the run was planned with says how it is made and trained."""
    own: Mapping[str, Any] = field(default_factory=dict)
    """Training settings that differ from those of its stack."""

    @property
    def entry(self) -> PolicyEntry:
        """Return it as runners know it."""
        return PolicyEntry(name=self.name, number=self.number, stack=self.stack)


class PolicyBook:
    """The policies by name, in the order of their numbers."""

    def __init__(self, policies: Sequence[BookedPolicy], next_number: int) -> None:
        """`next_number` is above all that were ever used."""
        self._policies = {policy.name: policy for policy in sorted(policies, key=lambda one: one.number)}
        self.next_number = next_number
        self.numbers = {policy.name: policy.number for policy in self}
        """By name; mappings of agents look into it, and so know of changes."""

    @staticmethod
    def of_plan(
        stacks: Sequence[PlannedStack], names: Sequence[str], are_stacked: Sequence[bool]
    ) -> PolicyBook:
        """Return the policies that a run begins with, numbered in the order of `names`.

        Those of a planned stack that are not computed together are each a stack of their own.
        """
        numbers = {name: number for number, name in enumerate(names)}
        policies = [
            BookedPolicy(
                name=name,
                number=numbers[name],
                stack=stack.name if are_stacked[index] else sole_stack(numbers[name]),
                planned=index,
                own=stack.overrides.get(name, {}),
            )
            for index, stack in enumerate(stacks)
            for name in stack.policies
        ]
        return PolicyBook(policies, len(names))

    def __iter__(self) -> Iterator[BookedPolicy]:
        """Go through them in the order of their numbers."""
        return iter(self._policies.values())

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._policies)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a policy of this name."""
        return name in self._policies

    def __getitem__(self, name: str) -> BookedPolicy:
        """Return a policy. Raises ValueError, with names that are near."""
        if not isinstance(name, str):
            raise ValueError(f"{name!r} is no name of a policy; give text, one name at a time")
        if name not in self._policies:
            raise ValueError(no_such("policy", name, self._policies))
        return self._policies[name]

    def by_stack(self) -> dict[str, list[BookedPolicy]]:
        """Return the policies of each stack."""
        policies: dict[str, list[BookedPolicy]] = {}
        for policy in self:
            policies.setdefault(policy.stack, []).append(policy)
        return policies

    def add(self, name: str, *, stack: str, planned: int, own: Mapping[str, Any]) -> BookedPolicy:
        """Give a new policy the next number."""
        policy = BookedPolicy(name=name, number=self.next_number, stack=stack, planned=planned, own=own)
        self.next_number += 1
        self._policies[name] = policy
        self.numbers[name] = policy.number
        return policy

    def remove(self, name: str) -> BookedPolicy:
        """Strike a policy out."""
        policy = self[name]
        del self._policies[name], self.numbers[name]
        return policy

    def get_state(self) -> dict[str, Any]:
        """Return plain values, for a checkpoint."""
        return {
            "policies": [
                {"name": one.name, "number": one.number, "stack": one.stack, "planned": one.planned}
                | ({"own": to_json(one.own)} if one.own else {})
                for one in self
            ],
            "next_number": self.next_number,
        }

    @staticmethod
    def from_state(state: Mapping[str, Any], *, num_planned: int) -> PolicyBook:
        """Read what `get_state` returned. Raises ValueError where the settings plan other stacks."""
        policies = [BookedPolicy(**one) for one in state["policies"]]
        if any(policy.planned >= num_planned for policy in policies):
            num_theirs = 1 + max(policy.planned for policy in policies)
            raise ValueError(
                f"the checkpoint has policies of {num_theirs} architectures and these settings plan "
                f"{num_planned}; use the multi_agent settings it was made with"
            )
        return PolicyBook(policies, state["next_number"])


def sole_stack(number: int) -> str:
    """Return the name of the stack of a policy that is alone in it."""
    return f"policy{number}"
