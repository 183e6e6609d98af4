"""The weights of several stacks as one message. Axes: P policies of a stack. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from outrider.wire import Weights, joint_fingerprint, stack_tensors

if TYPE_CHECKING:
    from outrider.learner.stacks.stack_learner import StackLearner


class _Published(NamedTuple):
    """What is known of a stack since it was last published."""

    weights: Weights
    """Of this stack alone, under its name here."""
    versions: NDArray[np.int64]
    """[P] as the stack counts them itself."""


class JoinedWeights:
    """Publishes stacks together; what has not changed is not copied again."""

    def __init__(self) -> None:
        self._published: dict[str, _Published] = {}
        self._changed: set[str] = set()

    def changed(self, stacks: Iterable[str]) -> None:
        """Note that these stacks are to be asked again."""
        self._changed.update(stacks)

    def publish(self, stacks: Mapping[str, StackLearner], version: int) -> Weights:
        """Return the weights of all; a policy that is otherwise than before gets this version."""
        self._published = {name: kept for name, kept in self._published.items() if name in stacks}
        for name in stacks:
            if name in self._changed or name not in self._published:
                self._published[name] = self._ask(name, stacks[name], version)
        self._changed.clear()
        parts = [self._published[name].weights for name in stacks]
        joined = tuple(part.stacks[0] for part in parts)
        return Weights(
            version=version,
            fingerprint=joint_fingerprint(joined),
            tensors={name: tensor for part in parts for name, tensor in part.tensors.items()},
            stacks=joined,
        )

    def _ask(self, name: str, learner: StackLearner, version: int) -> _Published:
        weights = learner.publish()
        own = weights.stacks[0]
        versions = np.full(len(own.policies), version, np.int64)
        if before := self._published.get(name):
            known = before.weights.stacks[0]
            _, here, there = np.intersect1d(own.policies, known.policies, return_indices=True)
            is_same = own.versions[here] == before.versions[there]
            versions[here[is_same]] = known.versions[there[is_same]]
        stack = replace(own, name=name, versions=versions)
        tensors = {f"{name}/{key}": tensor for key, tensor in stack_tensors(weights, own).items()}
        joined = Weights(version=version, fingerprint=own.fingerprint, tensors=tensors, stacks=(stack,))
        return _Published(joined, own.versions.copy())
