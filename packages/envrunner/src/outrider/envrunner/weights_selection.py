"""What of the weights of several policies a runner needs: those that may play, and changed since it acted.

weights version 9     red 9   blue 7   green 9   old 2
played                red     blue     green
since version 7       red              green              this is what is sent
"""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from outrider.transport import LocalWeights, WeightsReference
from outrider.wire import Weights, WeightsStack


class WeightsSelection:
    """Makes each selection of the newest weights once, whoever asks for it, from whatever thread."""

    def __init__(self, played: frozenset[int] | None) -> None:
        """`played` are the numbers of the policies that may act; None: any."""
        self._lock = threading.Lock()
        self._played = played
        self._weights: WeightsReference | None = None
        self._parts: dict[int | None, WeightsReference] = {}

    def also(self, played: frozenset[int] | None) -> bool:
        """Let these act too: those before may still, in episodes under way. Returns whether more may now."""
        with self._lock:
            before = self._played
            self._played = None if before is None or played is None else before | played
            self._weights = None
            return self._played != before

    def of(self, weights: WeightsReference, since: int | None) -> WeightsReference:
        """Return those that a runner needs whose newest weights are of version `since`; None: it has none.

        Weights of a single policy are returned as they are. May block while they are fetched.
        """
        with self._lock:
            if weights is not self._weights:
                self._weights, self._parts = weights, {}
            if since not in self._parts:
                self._parts[since] = self._select(weights, since)
            return self._parts[since]

    def _select(self, reference: WeightsReference, since: int | None) -> WeightsReference:
        if self._played is None and since is None:
            return reference
        weights = reference.load()
        chosen = {stack.name: self._places(stack, since) for stack in weights.stacks}
        if all(mask.all() for mask in chosen.values()):
            return reference
        return LocalWeights(_take(weights, chosen))

    def _places(self, stack: WeightsStack, since: int | None) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        mask = np.ones(len(stack.policies), np.bool_)
        if since is not None:
            mask &= stack.versions > since
        if self._played is not None:
            mask &= np.isin(stack.policies, list(self._played))
        return mask


def _take(weights: Weights, chosen: dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]) -> Weights:
    """Return the weights of some policies of each stack."""
    return replace(
        weights,
        tensors={name: tensor[chosen[name.partition("/")[0]]] for name, tensor in weights.tensors.items()},
        stacks=tuple(
            replace(
                stack,
                policies=stack.policies[chosen[stack.name]],
                versions=stack.versions[chosen[stack.name]],
            )
            for stack in weights.stacks
        ),
    )
