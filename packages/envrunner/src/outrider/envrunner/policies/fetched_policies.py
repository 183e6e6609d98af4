"""Gives a runner the weights of those policies that play, when they begin to, and takes them from others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.acting_stack import ActingStack
from outrider.envrunner.policies.held_policies import HeldPolicies
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.some_policies import chosen_policies
from outrider.wire import Weights


class FetchPolicies(Protocol):
    """Where a runner gets the weights of policies that it does not hold."""

    def __call__(self, wanted: NDArray[np.int32], dropped: NDArray[np.int32]) -> Weights:
        """Return those of the `wanted`, at the version that the runner was told to act with, or a newer one.

        Those `dropped` are not held any more. Blocks. Raises ConnectionError where they cannot be had.
        """
        ...


class FetchedPolicies:
    """The stacks of a runner that holds no more than so many policies."""

    def __init__(self, fetch: FetchPolicies, at_most: int) -> None:
        """Hold none yet; `at_most` is no fewer than play at a time."""
        self._fetch = fetch
        self._at_most = at_most
        self._held = HeldPolicies(at_most)
        self._stacks: Sequence[ActingStack] = ()
        self._fetched_at = np.zeros(0, np.int64)
        """By number, the version at which each was fetched last."""

    @property
    def held(self) -> NDArray[np.int32]:
        """Whose weights are here, ascending."""
        return self._held.numbers

    def act_with(self, policies: Sequence[PolicyEntry], stacks: Sequence[ActingStack]) -> None:
        """Note which policies there are; those that are gone are dropped."""
        num_policies = {stack.name: 0 for stack in stacks}
        for policy in policies:
            num_policies[policy.stack] += 1
        for stack in stacks:
            if stack not in self._stacks:
                stack.reserve(min(self._at_most, num_policies[stack.name]))
        self._stacks = stacks
        self._drop(self._held.keep_only(np.array([policy.number for policy in policies], np.int32)))

    def set_weights(self, weights: Weights) -> None:
        """Take over those of policies that are held, or for which there is room."""
        numbers = [stack.policies for stack in weights.stacks]
        is_kept = self._held.admit(np.concatenate(numbers)) if numbers else np.zeros(0, np.bool_)
        parts = np.split(is_kept, np.cumsum([len(each) for each in numbers])[:-1])
        by_stack = {stack.name: part for stack, part in zip(weights.stacks, parts, strict=False)}
        kept = chosen_policies(weights, by_stack)
        for stack in self._stacks:
            stack.set_weights(kept)

    def versions(self, policy: NDArray[np.int32], version: int) -> NDArray[np.int64]:
        """Return of which version each of these policies acts, where all are of `version` at least.

        Those that were fetched may be newer.
        """
        known = policy < len(self._fetched_at)
        fetched_at = np.zeros(len(policy), np.int64)
        fetched_at[known] = self._fetched_at[policy[known]]
        return np.maximum(fetched_at, version)

    def forget_versions(self) -> None:
        """Take the next weights whatever their version."""
        self._fetched_at[:] = 0

    def play(
        self,
        policy_S: NDArray[np.int32],
        version: int,
        soon: Callable[[], NDArray[np.int32]] | None = None,
    ) -> None:
        """Fetch those of the players that are not held, in one call; some that rest are dropped for it.

        Where there are any, those who play `soon` come with them. Raises ConnectionError where they cannot
        be had, and ValueError where others came.
        """
        wanted, dropped = self._held.play(policy_S, soon)
        self._drop(dropped)
        if not len(wanted):
            return
        weights = self._fetch(wanted, dropped)
        came = [stack.policies for stack in weights.stacks]
        missing = np.setdiff1d(wanted, np.concatenate(came) if came else []).astype(np.int32)
        for number in missing[np.isin(missing, policy_S)].tolist():
            raise ValueError(
                f"policy number {number} plays, and version {weights.version} of the weights has none of it; "
                "publish it before it plays"
            )
        self._held.lose(missing)
        assert weights.version >= version, f"version {weights.version} came, and {version} acts"
        num_more = int(wanted.max()) + 1 - len(self._fetched_at)
        self._fetched_at = np.append(self._fetched_at, np.zeros(max(0, num_more), np.int64))
        self._fetched_at[wanted] = weights.version
        for stack in self._stacks:
            stack.set_weights(weights)

    def _drop(self, policies: NDArray[np.int32]) -> None:
        if len(policies):
            for stack in self._stacks:
                stack.drop(policies)
