"""The weights of one stack's policies as a runner holds them. Axis: P = places, one for each policy.

Policies that come together lie in the order of their numbers. Where policies are dropped, the next ones that
come take their places, and nothing else moves:

    places      0 1 2 3         drop 4       0 1 2 3      take 9       0 1 2 3
    policies    2 4 7 8                      2 - 7 8                   2 9 7 8
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire import Weights, stack_tensors

Indices = NDArray[np.intp]


class StackedWeights:
    """Tensors [P, ...], of each policy the newest that came."""

    def __init__(
        self, name: str, fingerprint: str, forms: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
    ) -> None:
        """`forms` are shapes of one policy's tensors, and dtypes; others are not kept."""
        self._name = name
        self._fingerprint = fingerprint
        self._forms = forms
        self._number_at = np.zeros(0, np.int32)
        """[P] whose place it is; -1 where it is free."""
        self._versions = np.zeros(0, np.int64)
        self._place_of = np.zeros(0, np.intp)
        self.num_arrangements = 0
        """Grows whenever a policy gets a place or loses it."""
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

    def reserve(self, num_policies: int) -> None:
        """Make so many places before the first policy comes; memory of those that are free is not touched."""
        if not len(self._number_at):
            self._lay_out(np.zeros(0, np.int32), num_policies)

    def drop(self, policies: NDArray[np.int32]) -> None:
        """Free the places of these policies, as far as they have any."""
        known = policies[policies < len(self._place_of)]
        places = self._place_of[known]
        self._place_of[known] = -1
        places = places[places >= 0]
        self._number_at[places] = -1
        self._versions[places] = -1
        self.num_arrangements += 1

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
            is_all = len(newer) == len(self._number_at) == len(here) and bool((np.diff(here) > 0).all())
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
        """Give the policies that are new a place; return whether others had to move for it."""
        new = numbers[~np.isin(numbers, self._number_at)]
        if not len(new):
            return False
        self.num_arrangements += 1
        free = np.flatnonzero(self._number_at < 0)
        if len(free) < len(new):
            here = self._number_at[self._number_at >= 0]
            self._lay_out(np.union1d(here, new).astype(np.int32), len(here) + len(new))
            return True
        self._number_at[free[: len(new)]] = new
        self._find_places()
        return False

    def _lay_out(self, numbers: NDArray[np.int32], num_places: int) -> None:
        """Give these policies the first of so many places; those that are here keep their weights."""
        after = np.flatnonzero(np.isin(numbers, self._number_at))
        before = self._place_of[numbers[after]]
        for name, tensor in self.tensors.items():
            self.tensors[name] = np.zeros((num_places, *tensor.shape[1:]), tensor.dtype)
            self.tensors[name][after] = tensor[before]
        versions = np.full(num_places, -1, np.int64)
        versions[after] = self._versions[before]
        self._versions = versions
        self._number_at = np.full(num_places, -1, np.int32)
        self._number_at[: len(numbers)] = numbers
        self._find_places()

    def _find_places(self) -> None:
        places = np.flatnonzero(self._number_at >= 0)
        self._place_of = np.full(int(self._number_at.max(initial=-1)) + 1, -1, np.intp)
        self._place_of[self._number_at[places]] = places
