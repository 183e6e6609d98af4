"""The weights of one stack's policies as a runner holds them. Axis: P = policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire import Weights, stack_tensors

Indices = NDArray[np.intp]


class StackedWeights:
    """Tensors [P, ...] of policies in the order of their numbers, of each policy the newest that came."""

    def __init__(
        self, name: str, fingerprint: str, forms: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
    ) -> None:
        """`forms` are shapes of one policy's tensors, and dtypes; others are not kept."""
        self._name = name
        self._fingerprint = fingerprint
        self._forms = forms
        self._numbers = np.zeros(0, np.int32)
        self._versions = np.zeros(0, np.int64)
        self._place_of = np.zeros(0, np.intp)
        self.tensors = {name: np.zeros((0, *shape), dtype) for name, (shape, dtype) in forms.items()}

    def places(self, policy: NDArray[np.int32]) -> Indices:
        """Return where the weights of each of these policies are. Raises ValueError where they never came."""
        known = policy < len(self._place_of)
        places = np.where(known, self._place_of[policy * known], -1) if len(self._place_of) else known - 1
        if len(places) and places.min() < 0:
            raise ValueError(
                f"policy number {policy[places.argmin()]} of stack {self._name!r} has no weights; publish "
                "them before it plays"
            )
        return places

    def forget_versions(self) -> None:
        """Take the next weights whatever their versions."""
        self._versions[:] = -1

    def take(self, weights: Weights) -> bool:
        """Take over what is newer; return whether tensors moved, so that their addresses are others.

        Raises ValueError where weights do not fit; then all stay as they were.
        """
        moved = False
        for stack in weights.stacks:
            if stack.name != self._name:
                continue
            if stack.fingerprint != self._fingerprint:
                raise ValueError(
                    f"weights version {weights.version} of stack {self._name!r} fit module "
                    f"{stack.fingerprint}, but these policies are {self._fingerprint}; send weights of the "
                    "module that the policies were exported from"
                )
            tensors = stack_tensors(weights, stack)
            self._check(tensors, len(stack.policies))
            moved |= self._make_room(stack.policies)
            here = self._place_of[stack.policies]
            newer = np.flatnonzero(stack.versions > self._versions[here])
            if not len(newer):
                continue
            is_all = len(newer) == len(self._numbers) == len(stack.policies)
            for name, own in self.tensors.items():
                if is_all:
                    np.copyto(own, tensors[name])
                else:
                    own[here[newer]] = tensors[name][newer]
            self._versions[here[newer]] = stack.versions[newer]
        return moved

    def _check(self, tensors: Mapping[str, NDArray[Any]], num_policies: int) -> None:
        for name, (shape, _) in self._forms.items():
            tensor = tensors.get(name)
            if tensor is None or tensor.shape != (num_policies, *shape):
                found = "missing" if tensor is None else f"of shape {tensor.shape}"
                raise ValueError(
                    f"weight {name!r} of stack {self._name!r} is {found}, the policy graph takes "
                    f"{(num_policies, *shape)}; export graph and weights from the same module"
                )

    def _make_room(self, numbers: NDArray[np.int32]) -> bool:
        """Add the policies that are new; return whether there were any."""
        grown = np.union1d(self._numbers, numbers).astype(np.int32)
        if len(grown) == len(self._numbers):
            return False
        before = np.searchsorted(grown, self._numbers)
        for name, tensor in self.tensors.items():
            self.tensors[name] = np.zeros((len(grown), *tensor.shape[1:]), tensor.dtype)
            self.tensors[name][before] = tensor
        versions = np.full(len(grown), -1, np.int64)
        versions[before] = self._versions
        self._numbers, self._versions = grown, versions
        self._place_of = np.full(int(grown[-1]) + 1, -1, np.intp)
        self._place_of[grown] = np.arange(len(grown))
        return True
