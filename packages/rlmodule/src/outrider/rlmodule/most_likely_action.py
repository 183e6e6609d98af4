"""The most likely action, in the units and dtype of the environment. Axes: B rows, n components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from outrider.wire import (
    ActionHead,
    BoxSpace,
    DiscreteSpace,
    LeafSpace,
    MultiDiscreteSpace,
    Space,
    leaf_dtype,
    leaves,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


class MostLikelyAction(nn.Module):
    """Action parameters [B, k] to one action [B, ...] for each head; squashed: tanh of the mean."""

    def __init__(self, heads: tuple[ActionHead, ...], space: Space) -> None:
        """Prepare the constants of each head."""
        super().__init__()
        by_path = leaves(space)
        self.bounds = tuple((head.start, head.stop) for head in heads)
        self.parts = nn.ModuleList(_part(head, by_path[head.path]) for head in heads)

    def forward(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """Return the actions in the order of the heads."""
        return tuple(
            part(parameters[:, start:stop])
            for (start, stop), part in zip(self.bounds, self.parts, strict=True)
        )


def _part(head: ActionHead, leaf: LeafSpace) -> nn.Module:
    match leaf:
        case BoxSpace():
            return _Mean(head, leaf)
        case DiscreteSpace():
            return _Mode(head, np.array([leaf.start]))
        case MultiDiscreteSpace():
            return _Mode(head, leaf.start.ravel())
        case _:
            return _Majority(head)


class _Mode(nn.Module):
    """The value with the largest logit, for each component."""

    start_n: Tensor

    def __init__(self, head: ActionHead, start_n: NDArray[np.int64]) -> None:
        super().__init__()
        self.sizes, self.shape = list(head.sizes), head.shape
        self.register_buffer("start_n", torch.tensor(start_n, dtype=torch.int64), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        modes = [part.argmax(1) for part in torch.split(logits, self.sizes, 1)]
        return (torch.stack(modes, 1) + self.start_n).reshape(-1, *self.shape)


class _Majority(nn.Module):
    """1 where its probability is above a half."""

    def __init__(self, head: ActionHead) -> None:
        super().__init__()
        self.shape = head.shape

    def forward(self, logits: Tensor) -> Tensor:
        return (logits > 0).to(torch.int8).reshape(-1, *self.shape)


class _Mean(nn.Module):
    """The mean, from -1..1 to the bounds, and clipped there."""

    low_n: Tensor
    high_n: Tensor
    center_n: Tensor
    half_range_n: Tensor

    def __init__(self, head: ActionHead, leaf: BoxSpace) -> None:
        super().__init__()
        self.num_components, self.shape = len(head.sizes), head.shape
        self.squash = head.kind == "squashed_gaussian"
        self.dtype: torch.dtype = getattr(torch, leaf_dtype(leaf).name)
        with np.errstate(over="ignore"):  # bounds at the ends of their dtype are none
            is_bounded_n = np.isfinite(leaf.high - leaf.low).ravel()
        low_n, high_n = leaf.low.ravel().astype(np.float64), leaf.high.ravel().astype(np.float64)
        with np.errstate(invalid="ignore"):
            constants = {
                "low_n": low_n,
                "high_n": high_n,
                "center_n": np.where(is_bounded_n, low_n + (high_n - low_n) / 2, 0.0),
                "half_range_n": np.where(is_bounded_n, (high_n - low_n) / 2, 1.0),
            }
        for name, values in constants.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, parameters: Tensor) -> Tensor:
        mean_Bn = parameters[:, : self.num_components]
        mean_Bn = self.center_n + self.half_range_n * (mean_Bn.tanh() if self.squash else mean_Bn)
        action_Bn = torch.minimum(torch.maximum(mean_Bn, self.low_n), self.high_n)
        return action_Bn.reshape(-1, *self.shape).to(self.dtype)
