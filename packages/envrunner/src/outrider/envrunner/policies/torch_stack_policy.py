"""Acts for many policies through torch, where their network cannot be exported. Needs the extra `torch`.

Axes: N = rows, C = chunks, R = rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.row_chunks import RowChunks, row_chunks
from outrider.envrunner.policies.stacked_weights import StackedWeights
from outrider.envrunner.policies.torch_policy import TorchRecipe, TorchStack
from outrider.wire import Columns, Weights


class TorchStackPolicy:
    """Executes policies of one recipe together. An `ActingStack`."""

    def __init__(self, recipe: TorchRecipe, name: str) -> None:
        """Make the stack called `name`. Raises ImportError where torch or outrider-rlmodule is missing."""
        self._stack = TorchStack(recipe)
        self.name = name
        self.observation_space = self._stack.observation_space
        self.action_heads = self._stack.action_heads
        self.state_spec = self._stack.state_spec
        forms = {key: (tensor.shape[1:], tensor.dtype) for key, tensor in self._stack.tensors.items()}
        self._weights = StackedWeights(name, self._stack.fingerprint, forms)
        self._gathered: dict[str, NDArray[Any]] = {}
        self._gathered_places = np.zeros(0, np.intp)

    def set_weights(self, weights: Weights) -> None:
        """Take over weights that are newer. Raises ValueError where they do not fit."""
        self._weights.take(weights)
        self._gathered_places = np.zeros(0, np.intp)

    def forget(self) -> None:
        """Take the next weights whatever their versions."""
        self._weights.forget_versions()

    def reserve(self, num_policies: int) -> None:
        """Make places for so many."""
        self._weights.reserve(num_policies)

    def drop(self, policies: NDArray[np.int32]) -> None:
        """Keep the weights of these no longer."""
        self._weights.drop(policies)
        self._gathered_places = np.zeros(0, np.intp)

    def act(
        self, observations: Columns, policy: NDArray[np.int32], state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        """Return action parameters [N, k] and the next recurrent state; `policy` [N] is ascending."""
        chunks = row_chunks(self._weights.places(policy), lambda length: length)
        if not np.array_equal(chunks.places, self._gathered_places):
            self._gathered_places = chunks.places
            self._gathered = {name: tensor[chunks.places] for name, tensor in self._weights.tensors.items()}
        parameters, next_state = self._stack.act(
            self._gathered, _in_chunks(observations, chunks), _in_chunks(state, chunks)
        )
        where = chunks.chunk, chunks.offset
        return parameters[where], {name: column[where] for name, column in next_state.items()}


def _in_chunks(columns: Columns, chunks: RowChunks) -> Columns:
    """Return columns [C, R, ...] of rows [N, ...]; zeros are padding."""
    padded = {}
    for name, column in columns.items():
        padded[name] = np.zeros((len(chunks.places), chunks.length, *column.shape[1:]), column.dtype)
        padded[name][chunks.chunk, chunks.offset] = column
    return padded
