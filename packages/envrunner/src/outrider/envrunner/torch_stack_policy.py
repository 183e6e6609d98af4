"""Acts for many policies through torch, where their network cannot be exported. Needs the extra `torch`.

Axes: N = rows, C = chunks, R = rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.row_chunks import row_chunks
from outrider.envrunner.stacked_weights import StackedWeights
from outrider.envrunner.torch_policy import TorchRecipe
from outrider.wire import ActionHead, Columns, Space, TensorSpec, Weights

if TYPE_CHECKING:
    import torch


class TorchStackPolicy:
    """Executes policies of one recipe together. An `ActingStack`."""

    def __init__(self, recipe: TorchRecipe, name: str) -> None:
        """Make the stack called `name`. Raises ImportError where torch or outrider-rlmodule is missing."""
        try:
            import torch

            from outrider.rlmodule import PolicyStack
        except ImportError as error:
            raise ImportError(
                "these policies cannot be exported and act through torch, which is not installed; run "
                "`pip install 'outrider-envrunner[torch]'`"
            ) from error
        self._from_numpy = torch.from_numpy
        self._no_gradients = torch.inference_mode
        self._name = name
        self._stack = PolicyStack(recipe, [])  # type: ignore[arg-type]  # it is outrider.rlmodule's
        self._plain = self._stack.plain
        forms = {key: tensor[:0].numpy() for key, tensor in self._stack.tensors.items()}
        self._weights = StackedWeights(
            name,
            self._stack.fingerprint(),
            {key: (array.shape[1:], array.dtype) for key, array in forms.items()},
        )
        self._gathered: dict[str, torch.Tensor] = {}
        self._gathered_places = np.zeros(0, np.intp)

    @property
    def name(self) -> str:
        """Name of the stack."""
        return self._name

    @property
    def observation_space(self) -> Space:
        """What every policy sees."""
        return self._plain.observation_space

    @property
    def action_heads(self) -> tuple[ActionHead, ...]:
        """How action parameters are read."""
        return self._plain.action_heads

    @property
    def state_spec(self) -> Mapping[str, TensorSpec]:
        """Nothing: stacked policies have no memory."""
        return {}

    def set_weights(self, weights: Weights) -> None:
        """Take over weights that are newer. Raises ValueError where they do not fit."""
        self._weights.take(weights)
        self._gathered_places = np.zeros(0, np.intp)

    def forget(self) -> None:
        """Take the next weights whatever their versions."""
        self._weights.forget_versions()

    def act(
        self, observations: Columns, policy: NDArray[np.int32], state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        """Return action parameters [N, k]; `policy` [N] is ascending."""
        chunks = row_chunks(self._weights.places(policy), lambda length: length)
        if not np.array_equal(chunks.places, self._gathered_places):
            self._gathered_places = chunks.places
            self._gathered = {
                name: self._from_numpy(tensor[chunks.places])
                for name, tensor in self._weights.tensors.items()
            }
        inputs = {}
        for path, column in observations.items():
            padded = np.zeros((len(chunks.places), chunks.length, *column.shape[1:]), column.dtype)
            padded[chunks.chunk, chunks.offset] = column
            inputs[path] = self._from_numpy(padded)
        with self._no_gradients():
            parameters = self._stack.forward_with(self._gathered, inputs)[0].numpy()
        return parameters[chunks.chunk, chunks.offset], {}
