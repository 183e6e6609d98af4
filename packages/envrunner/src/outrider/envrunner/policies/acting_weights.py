"""Which weights a runner of several agents acts with: those of all policies, or of those that play."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.acting_stack import ActingStack
from outrider.envrunner.policies.fetched_policies import FetchedPolicies
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.wire import Weights


class ActingWeights:
    """Gives a runner's stacks the weights that it is told to act with."""

    def __init__(self) -> None:
        """None act yet, and none are fetched."""
        self.version: int | None = None
        """Of the weights that act; None before the first, and for who takes others whatever their version."""
        self._stacks: Sequence[ActingStack] = ()
        self._numbers = np.zeros(0, np.int32)
        """Of the policies that there are, and of those whose weights came after they were gone."""
        self._fetched: FetchedPolicies | None = None

    @property
    def held(self) -> NDArray[np.int32]:
        """The policies whose weights are here, where those that play are fetched; ascending."""
        return np.zeros(0, np.int32) if self._fetched is None else self._fetched.held

    def fetch(self, fetched: FetchedPolicies) -> None:
        """Hold no more weights than these, and fetch those of policies that play; before any are set."""
        assert self.version is None, "policies are fetched from the beginning or not at all"
        self._fetched = fetched

    def act_with(self, policies: Sequence[PolicyEntry], stacks: Sequence[ActingStack]) -> None:
        """Give weights to these from now on; those of policies that are gone take no memory any more."""
        numbers = np.array([policy.number for policy in policies], np.int32)
        gone, self._numbers = np.setdiff1d(self._numbers, numbers), numbers
        self._stacks = stacks
        if self._fetched is not None:
            self._fetched.act_with(policies, stacks)
        elif len(gone):
            for stack in stacks:
                stack.drop(gone)

    def take(self, weights: Weights) -> None:
        """Act with newer weights; others are skipped. Raises ValueError where they fit other stacks."""
        if self.version is not None and weights.version <= self.version:
            return
        if self._fetched is not None:
            self._fetched.set_weights(weights)
        else:
            for stack in self._stacks:
                stack.set_weights(weights)
            for part in weights.stacks:
                self._numbers = np.union1d(self._numbers, part.policies)
        self.version = weights.version

    def begin_anew(self) -> None:
        """Wait for weights of another time of the run."""
        self.version = None
        if self._fetched is not None:
            self._fetched.forget_versions()
        for stack in self._stacks:
            stack.forget()

    def play(self, policy_S: NDArray[np.int32], soon: Callable[[], NDArray[np.int32]] | None = None) -> None:
        """Fetch what is not here of policies that play; see `FetchedPolicies`. Newer ones may come."""
        if self._fetched is not None:
            assert self.version is not None
            self._fetched.play(policy_S, self.version, soon)

    def versions(self, policy: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return of which version the weights of policies are: a fetched one may be newer than the rest."""
        assert self.version is not None
        if self._fetched is not None:
            return self._fetched.versions(policy, self.version)
        return np.full(len(policy), self.version, np.int64)
