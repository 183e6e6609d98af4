"""What of the weights of several policies a runner needs: those that may play, and changed since it acted.

    weights version 9     red 9   blue 7   green 9   old 2
    played                red     blue     green
    since version 7       red              green              this is what is sent

Where more may play than a runner holds, those that it holds stand for those that may play.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.some_policies import chosen_policies, of_policies
from outrider.transport import LocalWeights, WeightsReference
from outrider.wire import WeightsStack

ON_DEMAND = "policies_on_demand"
"""Capability of runners that ask for policies that they play, and of those who answer them."""


class HeldElsewhere:
    """Which policies a runner has the weights of, for whoever sends them: all that it does have, at least."""

    def __init__(self, *, on_demand: bool) -> None:
        """It has none. One that cannot ask for policies (`on_demand`) gets all that may play."""
        self.on_demand = on_demand
        self.numbers = np.zeros(0, np.int32)
        """Ascending."""

    def wants(self, policies: NDArray[np.int32], dropped: NDArray[np.int32]) -> None:
        """Note that it is sent some policies, and has no others any more."""
        self.numbers = np.union1d(np.setdiff1d(self.numbers, dropped), policies).astype(np.int32)


class WeightsSelection:
    """Makes each selection that several runners need once, whoever asks for it, from whatever thread."""

    def __init__(self, played: frozenset[int] | None, *, num_policies: int, at_most: int) -> None:
        """`played` are the numbers of the policies that may act; None: any of the `num_policies`.

        A runner holds `at_most`.
        """
        self._lock = threading.Lock()
        self._played = played
        self.at_most = at_most
        """Policies that a runner holds."""
        self._weights: WeightsReference | None = None
        self._parts: dict[int | None, WeightsReference] = {}
        self.is_on_demand = False
        """Whether more may play than a runner holds, now or at any time before."""
        self._count(num_policies)

    def also(self, played: frozenset[int] | None, *, policies: frozenset[int]) -> bool:
        """Let these act too: those before may still, in episodes under way, unless they are gone.

        `policies` are all that there are. Returns whether more may act now.
        """
        with self._lock:
            before = self._played
            self._played = None if before is None or played is None else before & policies | played
            self._weights = None
            self._count(len(policies))
            return before is not None and (self._played is None or not self._played <= before)

    def of(self, weights: WeightsReference, since: int | None) -> WeightsReference:
        """Return those that may play and changed after `since`, which a runner has; None: it has none.

        Weights of a single policy are returned as they are. May block while they are fetched.
        """
        with self._lock:
            if weights is not self._weights:
                self._weights, self._parts = weights, {}
            if since not in self._parts:
                self._parts[since] = self._select(weights, since)
            return self._parts[since]

    def for_runner(
        self, weights: WeightsReference, since: int | None, held: HeldElsewhere
    ) -> WeightsReference:
        """Return those that a runner needs, and note that it holds them. May block as `of` does."""
        if self.is_on_demand and held.on_demand:
            return LocalWeights(of_policies(weights.load(), held.numbers, since=since))
        chosen = self.of(weights, since)
        if held.on_demand:
            for stack in chosen.load().stacks:
                held.wants(stack.policies, _NOBODY)
        return chosen

    def _count(self, num_policies: int) -> None:
        num_players = num_policies if self._played is None else len(self._played)
        self.is_on_demand |= num_players > self.at_most

    def _select(self, reference: WeightsReference, since: int | None) -> WeightsReference:
        if self._played is None and since is None:
            return reference
        weights = reference.load()
        chosen = chosen_policies(
            weights, {stack.name: self._places(stack, since) for stack in weights.stacks}
        )
        return reference if chosen is weights else LocalWeights(chosen)

    def _places(self, stack: WeightsStack, since: int | None) -> NDArray[np.bool_]:
        mask = np.ones(len(stack.policies), np.bool_)
        if since is not None:
            mask &= stack.versions > since
        if self._played is not None:
            mask &= np.isin(stack.policies, list(self._played))
        return mask


_NOBODY = np.zeros(0, np.int32)
