"""Rows of zeros in the shape of a policy's inputs, to try a network with or to trace it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from outrider.wire import Space, TensorSpec, leaf_dtype, leaf_shape, leaves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def zero_observations(space: Space, *axes: int) -> dict[str, Tensor]:
    """Return an observation {path: [*axes, ...]} for each leaf."""
    return {path: _zeros(axes, leaf_shape(leaf), leaf_dtype(leaf)) for path, leaf in leaves(space).items()}


def zero_state(spec: Mapping[str, TensorSpec], *axes: int) -> dict[str, Tensor]:
    """Return the recurrent state {name: [*axes, ...]} with which episodes start."""
    return {name: _zeros(axes, tensor.shape, tensor.dtype) for name, tensor in spec.items()}


def _zeros(axes: tuple[int, ...], shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Tensor:
    return torch.from_numpy(np.zeros((*axes, *shape), dtype))
