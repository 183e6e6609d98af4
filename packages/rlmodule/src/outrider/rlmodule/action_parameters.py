"""The last layer of a policy. Axes: P policies where they are stacked, B rows, F features, k parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from outrider.rlmodule import layers

if TYPE_CHECKING:
    from outrider.rlmodule.settings import ModuleSettings
    from outrider.wire import ActionHead


def action_parameters(
    num_features: int, heads: tuple[ActionHead, ...], settings: ModuleSettings
) -> nn.Module:
    """Make the layer from features [B, F] to action parameters [B, k]."""
    is_log_std = [k >= _first_log_std(head) for head in heads for k in range(head.start, head.stop)]
    if settings.free_log_std and any(is_log_std):
        return _WithFreeLogStd(num_features, is_log_std, settings)
    return _AllFromFeatures(num_features, is_log_std, settings)


def _first_log_std(head: ActionHead) -> int:
    return head.start + len(head.sizes) if "gaussian" in head.kind else head.stop


class _AllFromFeatures(nn.Module):
    """One linear layer; log standard deviations are clipped."""

    limit: Tensor | None
    """[k] largest magnitude of each column; None where there are no log standard deviations."""

    def __init__(self, num_features: int, is_log_std: list[bool], settings: ModuleSettings) -> None:
        super().__init__()
        self.linear = layers.Linear(num_features, len(is_log_std), gain=layers.POLICY_HEAD_GAIN)
        self.clip = settings.log_std_clip_param
        mask = torch.tensor(is_log_std)
        self.linear.bias.data[mask] = settings.initial_log_std
        limit = torch.where(mask, self.clip, torch.inf)
        self.register_buffer("limit", limit if any(is_log_std) else None, persistent=False)

    def forward(self, features_BF: Tensor) -> Tensor:
        parameters_Bk: Tensor = self.linear(features_BF)
        if self.limit is not None:
            parameters_Bk = torch.minimum(torch.maximum(parameters_Bk, -self.limit), self.limit)
        return parameters_Bk

    def extra_repr(self) -> str:
        return f"clip={self.clip}"


class _WithFreeLogStd(nn.Module):
    """One linear layer, whose columns of log standard deviations have a bias and no weights.

    Joining weights before the product, and not results after it, takes 5.8 instead of 9.0 us per
    row in a graph, and no longer in training.
    """

    no_weights: Tensor
    """[columns of log standard deviations, F] zeros."""
    order: Tensor | None
    """[k] where each column is found; None if they stand right."""

    def __init__(self, num_features: int, is_log_std: list[bool], settings: ModuleSettings) -> None:
        super().__init__()
        num_log_std = sum(is_log_std)
        num_others = len(is_log_std) - num_log_std
        self.linear = layers.Linear(num_features, num_others, gain=layers.POLICY_HEAD_GAIN)
        self.log_std = nn.Parameter(torch.full((num_log_std,), settings.initial_log_std))
        self.register_buffer("no_weights", torch.zeros(num_log_std, num_features), persistent=False)
        columns = sorted(range(len(is_log_std)), key=is_log_std.__getitem__)
        order = None if columns == sorted(columns) else torch.tensor(columns).argsort()
        self.register_buffer("order", order, persistent=False)

    def forward(self, features_BF: Tensor) -> Tensor:
        no_weights = self.no_weights
        if self.log_std.dim() == 2:
            no_weights = no_weights.expand(features_BF.shape[0], -1, -1)
        weight_kF = torch.cat((self.linear.weight, no_weights), -2)
        bias_k = torch.cat((self.linear.bias, self.log_std), -1)
        if self.order is not None:
            weight_kF = weight_kF.index_select(-2, self.order)
            bias_k = bias_k.index_select(-1, self.order)
        return layers.product(features_BF, weight_kF, bias_k)
