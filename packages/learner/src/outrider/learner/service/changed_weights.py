"""Weights of which only those cross that changed, where most policies stand still. Free of torch.

service    sent version 7          version 9: 2 of 100 policies changed since --> these two, since 7
run        has version 7   -------------------------------------------------> 7 with the two in it, as 9
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from outrider.transport import LocalWeights, WeightsReference
from outrider.wire import Weights

MOST = 0.5
"""Share of the policies above which all are sent: putting weights together copies them."""


class ChangedWeights:
    """Remembers, where weights are sent, of which policies the newest were."""

    def __init__(self) -> None:
        self._sent: Weights | None = None

    def to_send(self, reference: WeightsReference) -> tuple[WeightsReference, int]:
        """Return what is sent, and the version that it is newer than: 0 where it is everything."""
        weights = reference.load()
        sent, self._sent = self._sent, weights
        if not weights.stacks or sent is None or not sent.version or _policies(sent) != _policies(weights):
            return reference, 0
        chosen = {stack.name: stack.versions > sent.version for stack in weights.stacks}
        if np.concatenate(list(chosen.values())).mean() > MOST:
            return reference, 0
        stacks = tuple(
            replace(stack, policies=stack.policies[mask], versions=stack.versions[mask])
            for stack in weights.stacks
            if (mask := chosen[stack.name]).any()
        )
        tensors = {
            name: tensor[chosen[_stack(name)]]
            for name, tensor in weights.tensors.items()
            if chosen[_stack(name)].any()
        }
        return LocalWeights(replace(weights, stacks=stacks, tensors=tensors)), sent.version


def put_together(before: Weights, newer: Weights) -> Weights:
    """Return weights of all policies of `before`, of which some are those of `newer`. Raises ValueError."""
    stacks = {stack.name: stack for stack in before.stacks}
    tensors = dict(before.tensors)
    for part in newer.stacks:
        known = stacks.get(part.name)
        if known is None or not np.isin(part.policies, known.policies).all():
            raise ValueError(f"weights came of policies in stack {part.name!r} that were not sent before")
        place = np.searchsorted(known.policies, part.policies)
        versions = known.versions.copy()
        versions[place] = part.versions
        stacks[part.name] = replace(known, versions=versions)
        for name in [name for name in newer.tensors if _stack(name) == part.name]:
            tensors[name] = tensors[name].copy()
            tensors[name][place] = newer.tensors[name]
    return replace(before, version=newer.version, tensors=tensors, stacks=tuple(stacks.values()))


def _policies(weights: Weights) -> dict[str, list[int]]:
    return {stack.name: stack.policies.tolist() for stack in weights.stacks}


def _stack(tensor: str) -> str:
    return tensor.partition("/")[0]
