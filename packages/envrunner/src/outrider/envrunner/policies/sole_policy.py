"""A stack of one policy: what cannot be stacked, or has nobody to be stacked with. Axis: N rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.acting_policy import ActingPolicy
from outrider.envrunner.policies.batch_sizes import BatchSizes
from outrider.wire import ActionHead, Columns, Space, Weights, WeightsStack


class SolePolicy:
    """Acts with an `ActingPolicy`. An `ActingStack`."""

    def __init__(
        self,
        acting: ActingPolicy,
        name: str,
        number: int,
        *,
        observation_space: Space,
        action_heads: tuple[ActionHead, ...],
    ) -> None:
        """Take over the policy, which has the number `number`; `name` is that of the stack."""
        self._acting = acting
        self.name = name
        self.observation_space = observation_space
        self.action_heads = action_heads
        self.state_spec = acting.state_spec
        self._number = number
        self._version: int | None = None
        self._has_weights = False
        self._sizes = BatchSizes()
        self._padded: dict[int, tuple[Columns, Columns]] = {}

    def set_weights(self, weights: Weights) -> None:
        """Take over the policy's weights if they are newer. Raises ValueError where they do not fit."""
        for stack in weights.stacks:
            if stack.name == self.name:
                self._take(weights, stack)

    def forget(self) -> None:
        """Take the next weights whatever their version."""
        self._version = None

    def reserve(self, num_policies: int) -> None:
        """Do nothing: there is one."""

    def drop(self, policies: NDArray[np.int32]) -> None:
        """Act no more before weights come; their memory is the acting policy's."""
        if self._number in policies:
            self._has_weights = False
            self._version = None

    def act(
        self, observations: Columns, policy: NDArray[np.int32], state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        """Return action parameters [N, k] and the next recurrent state {name: [N, ...]}."""
        if not self._has_weights:
            raise ValueError(
                f"policy number {self._number} of stack {self.name!r} has no weights; publish them first"
            )
        num_rows = len(policy)
        size = self._sizes.at_least(num_rows)
        if size == num_rows:
            return self._acting.act(observations, state)
        padded_observations, padded_state = self._padded_to(size, observations, state)
        parameters, next_state = self._acting.act(padded_observations, padded_state)
        return parameters[:num_rows], {name: column[:num_rows] for name, column in next_state.items()}

    def _padded_to(self, size: int, observations: Columns, state: Columns) -> tuple[Columns, Columns]:
        """Copy the rows into arrays of `size` rows; what is in the others means nothing."""
        padded = self._padded.get(size)
        if padded is None:
            padded = self._padded[size] = (_zeros(size, observations), _zeros(size, state))
        for columns, destination in zip((observations, state), padded, strict=True):
            for name, column in columns.items():
                destination[name][: len(column)] = column
        return padded

    def _take(self, weights: Weights, stack: WeightsStack) -> None:
        (places,) = np.nonzero(stack.policies == self._number)
        if not len(places):
            return
        place = int(places[0])
        version = int(stack.versions[place])
        if self._version is not None and version <= self._version:
            return
        start = f"{self.name}/"
        tensors = {
            name.removeprefix(start): tensor[place]
            for name, tensor in weights.tensors.items()
            if name.startswith(start)
        }
        self._acting.set_weights(Weights(version=version, fingerprint=stack.fingerprint, tensors=tensors))
        self._version = version
        self._has_weights = True


def _zeros(size: int, columns: Columns) -> Columns:
    return {name: np.zeros((size, *column.shape[1:]), column.dtype) for name, column in columns.items()}
