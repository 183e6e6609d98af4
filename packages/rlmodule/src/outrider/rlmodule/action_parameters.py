"""The last layer of a policy. Axes: B rows, F features, k action parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from outrider.rlmodule import layers

if TYPE_CHECKING:
    from outrider.rlmodule.settings import ModuleSettings
    from outrider.wire import ActionHead


class ActionParameters(nn.Module):
    """Features [B, F] to action parameters [B, k].

    Log standard deviations are parameters of their own, or further outputs of the layer. Both come
    after all other columns and are then put where the heads want them.
    """

    order: Tensor | None
    """[k] which column goes where; None if they stand right."""

    def __init__(self, num_features: int, heads: tuple[ActionHead, ...], settings: ModuleSettings) -> None:
        """Initialise from torch's present generator."""
        super().__init__()
        is_log_std = [k >= _first_log_std(head) for head in heads for k in range(head.start, head.stop)]
        columns = sorted(range(len(is_log_std)), key=is_log_std.__getitem__)
        order = torch.tensor(columns).argsort()
        self.register_buffer("order", None if columns == sorted(columns) else order, persistent=False)

        num_log_std = sum(is_log_std)
        is_free = settings.free_log_std and num_log_std > 0
        self.num_made_log_std = 0 if is_free else num_log_std
        self.clip = settings.log_std_clip_param
        num_outputs = len(is_log_std) - num_log_std + self.num_made_log_std
        self.linear = layers.linear(num_features, num_outputs, gain=layers.POLICY_HEAD_GAIN)
        log_std = torch.full((num_log_std,), settings.initial_log_std)
        self.log_std = nn.Parameter(log_std) if is_free else None
        if self.num_made_log_std:
            nn.init.constant_(self.linear.bias[-num_log_std:], settings.initial_log_std)

    def forward(self, features_BF: Tensor) -> Tensor:
        """Return action parameters [B, k]."""
        parameters_Bk: Tensor = self.linear(features_BF)
        if self.log_std is not None:
            log_std = self.log_std.expand(parameters_Bk.shape[0], -1)
            parameters_Bk = torch.cat((parameters_Bk, log_std), 1)
        elif self.num_made_log_std:
            others, log_std = parameters_Bk.tensor_split((-self.num_made_log_std,), 1)
            parameters_Bk = torch.cat((others, log_std.clamp(-self.clip, self.clip)), 1)
        return parameters_Bk if self.order is None else parameters_Bk.index_select(1, self.order)

    def extra_repr(self) -> str:
        """Name what weights do not say."""
        return f"num_made_log_std={self.num_made_log_std}, clip={self.clip}"


def _first_log_std(head: ActionHead) -> int:
    return head.start + len(head.sizes) if "gaussian" in head.kind else head.stop
