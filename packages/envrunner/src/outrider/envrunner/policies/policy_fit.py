"""Which policies can act for which agents, and the sentence where one cannot. Axes: A = agent slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import AgentGroup
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.policies.action_sampler import ActionSampler
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.wire import ActionHead, Space, leaf_dtype, leaf_shape, leaves


class HasSpaces(Protocol):
    """An `ActingStack`, or `StackSpaces`."""

    @property
    def name(self) -> str:
        """Of the stack."""
        ...

    @property
    def observation_space(self) -> Space:
        """What every policy of it sees."""
        ...

    @property
    def action_heads(self) -> tuple[ActionHead, ...]:
        """How action parameters are read."""
        ...


class StackSpaces(NamedTuple):
    """A stack whose policies act elsewhere."""

    name: str
    observation_space: Space
    action_heads: tuple[ActionHead, ...]


class PolicyFit:
    """Policies by number, and the stacks that fit each group of agents."""

    def __init__(
        self,
        agents: Sequence[str],
        groups: Sequence[AgentGroup],
        stacks: Sequence[HasSpaces],
        policies: Sequence[PolicyEntry],
    ) -> None:
        """Compare the spaces of each stack and group. Raises ValueError for a policy of an unknown stack."""
        self._agents = agents
        self._groups = groups
        self._stacks = stacks
        self._group_of_agent = np.zeros(len(agents), np.intp)
        for index, group in enumerate(groups):
            self._group_of_agent[group.slots] = index
        self._misfits = [[_misfit(stack, group) for group in groups] for stack in stacks]
        self._fits = np.array([[not misfit for misfit in row] for row in self._misfits], np.bool_)
        self.set_policies(policies)

    def set_policies(self, policies: Sequence[PolicyEntry]) -> None:
        """Replace the policies."""
        names = [stack.name for stack in self._stacks]
        self._names = {policy.number: policy.name for policy in policies}
        self._stack_of_number = np.full(max(self._names, default=-1) + 1, -1, np.intp)
        for policy in policies:
            if policy.stack not in names:
                raise ValueError(f"policy {policy.name!r} is in stack {policy.stack!r}; stacks are {names}")
            self._stack_of_number[policy.number] = names.index(policy.stack)

    def stacks_of(self, policy: NDArray[np.int32]) -> NDArray[np.intp]:
        """Return the index of the stack of each policy number."""
        return self._stack_of_number[policy]

    def name(self, number: int) -> str:
        """Return what a policy is called."""
        return self._names.get(number, str(number))

    def groups_of(self, stack: int) -> dict[int, AgentGroup]:
        """Return the groups, by index, for whose agents a stack can act. Raises ValueError for none."""
        groups = {index: group for index, group in enumerate(self._groups) if self._fits[stack, index]}
        if not groups:
            name, why_not = self._stacks[stack].name, self._misfits[stack][0]
            raise ValueError(
                f"the policies of stack {name!r} fit no agent: {why_not}; "
                "leave them out, or make them from the spaces of an agent"
            )
        return groups

    def require(self, policy: NDArray[np.int32]) -> None:
        """Raise ValueError unless each agent [A] has a policy that fits it."""
        known = (policy >= 0) & (policy < len(self._stack_of_number))
        stacks = np.where(known, self._stack_of_number[np.where(known, policy, 0)], -1)
        if len(policy) != len(self._agents):
            raise ValueError(
                f"the policy mapping assigns {len(policy)} policies and there are {len(self._agents)} "
                "agents; assign one to each agent slot"
            )
        for slot in np.flatnonzero(stacks < 0)[:1]:
            raise ValueError(
                f"agent {self._agents[slot]!r} is assigned policy number {policy[slot]}, which there is not; "
                f"assign one of {sorted(self._names)[:16]}"
            )
        for slot in np.flatnonzero(~self._fits[stacks, self._group_of_agent])[:1]:
            misfit = self._misfits[stacks[slot]][self._group_of_agent[slot]]
            raise ValueError(
                f"agent {self._agents[slot]!r} is played by policy {self.name(int(policy[slot]))!r}, but "
                f"{misfit}; give agents with different spaces policies of their own"
            )


def _misfit(stack: HasSpaces, group: AgentGroup) -> str:
    """Return why a stack's policies cannot act for a group's agents; empty where they can."""
    offered, expected = map(_forms, (space_from_gymnasium(group.observation_space), stack.observation_space))
    if offered != expected:
        return f"the agent observes {_in_words(offered)} and the policy was made for {_in_words(expected)}"
    try:
        ActionSampler(stack.action_heads, group.action_space, np.random.default_rng(0))
    except ValueError:
        return f"the agent's actions are {group.action_space} and the policy was made for others"
    return ""


def _forms(space: Space) -> dict[str, str]:
    return {path: f"{leaf_dtype(leaf)}{list(leaf_shape(leaf))}" for path, leaf in leaves(space).items()}


def _in_words(forms: dict[str, str]) -> str:
    return ", ".join(f"{path} {form}".strip() for path, form in forms.items())
