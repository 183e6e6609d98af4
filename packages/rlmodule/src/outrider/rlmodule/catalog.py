"""The networks that come with Outrider. Axes: B rows; S streams; T time; F features; k parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from outrider.rlmodule import layers
from outrider.rlmodule.features import encoder
from outrider.rlmodule.lstm import Lstm

if TYPE_CHECKING:
    from outrider.wire import ActionHead, Space

    from outrider.rlmodule.protocols import Observation
    from outrider.rlmodule.settings import ModuleSettings


def catalog_network(
    observation_space: Space, heads: tuple[ActionHead, ...], settings: ModuleSettings
) -> nn.Module:
    """Make the network that the settings ask for, initialised from torch's present generator."""
    kind = RecurrentNetwork if settings.use_lstm else FeedForwardNetwork
    return kind(observation_space, heads, settings)


class FeedForwardNetwork(nn.Module):
    """An encoder and a linear head for the policy, and the same for the value."""

    def __init__(self, space: Space, heads: tuple[ActionHead, ...], settings: ModuleSettings) -> None:
        """Build both branches, or one encoder for both heads where layers are shared."""
        super().__init__()
        self.policy_encoder, width = encoder(space, settings)
        self.policy_head = ActionParameters(width, heads, settings)
        self.value_encoder = None if settings.vf_share_layers else encoder(space, settings)[0]
        self.value_head = layers.linear(width, 1, gain=layers.VALUE_HEAD_GAIN)

    def forward(self, observation: Observation) -> tuple[Tensor, Tensor]:
        """Return action parameters [B, k] and values [B]."""
        features_BF = self.policy_encoder(observation)
        value_features_BF = features_BF if self.value_encoder is None else self.value_encoder(observation)
        return self.policy_head(features_BF), self.value_head(value_features_BF).squeeze(-1)


class RecurrentNetwork(nn.Module):
    """As above with an LSTM before each head; a separate value network remembers for itself.

    State "h" and "c", and where layers are not shared "value_h" and "value_c", each [B, cell size].
    """

    def __init__(self, space: Space, heads: tuple[ActionHead, ...], settings: ModuleSettings) -> None:
        """Build both branches, or one encoder and LSTM for both heads where layers are shared."""
        super().__init__()
        self.cell_size = settings.lstm_cell_size
        self.policy_encoder, width = encoder(space, settings)
        self.policy_lstm = Lstm(width, self.cell_size)
        self.policy_head = ActionParameters(self.cell_size, heads, settings)
        shared = settings.vf_share_layers
        self.value_encoder = None if shared else encoder(space, settings)[0]
        self.value_lstm = None if shared else Lstm(width, self.cell_size)
        self.value_head = layers.linear(self.cell_size, 1, gain=layers.VALUE_HEAD_GAIN)

    def initial_state(self) -> dict[str, Tensor]:
        """Return zeros."""
        names = ("h", "c") if self.value_lstm is None else ("h", "c", "value_h", "value_c")
        return {name: torch.zeros(self.cell_size) for name in names}

    def forward(
        self, observation: Observation, state: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Take one step; see `RecurrentRLModule`."""
        h, c = self.policy_lstm.step(self.policy_encoder(observation), state["h"], state["c"])
        next_state = {"h": h, "c": c}
        value_h = h
        if self.value_encoder is not None and self.value_lstm is not None:
            value_h, value_c = self.value_lstm.step(
                self.value_encoder(observation), state["value_h"], state["value_c"]
            )
            next_state |= {"value_h": value_h, "value_c": value_c}
        return self.policy_head(h), self.value_head(value_h).squeeze(-1), next_state

    def forward_sequence(
        self, observation: Observation, state: dict[str, Tensor], starts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run whole sequences; see `SequenceRLModule`."""
        flat = _merge_axes(observation)
        features_STF = self.policy_encoder(flat).unflatten(0, starts.shape)
        outputs_STH = value_outputs_STH = self.policy_lstm.sequence(
            features_STF, state["h"], state["c"], starts
        )
        if self.value_encoder is not None and self.value_lstm is not None:
            value_outputs_STH = self.value_lstm.sequence(
                self.value_encoder(flat).unflatten(0, starts.shape), state["value_h"], state["value_c"], starts
            )
        parameters = self.policy_head(outputs_STH.flatten(0, 1)).unflatten(0, starts.shape)
        return parameters, self.value_head(value_outputs_STH).squeeze(-1)


def _merge_axes(observation: Observation) -> Observation:
    match observation:
        case dict():
            return {name: _merge_axes(part) for name, part in observation.items()}
        case tuple():
            return tuple(_merge_axes(part) for part in observation)
        case _:
            return observation.flatten(0, 1)


class ActionParameters(nn.Module):
    """Features [B, F] to action parameters [B, k]; log standard deviations may be free of features."""

    order: Tensor | None

    def __init__(self, num_features: int, heads: tuple[ActionHead, ...], settings: ModuleSettings) -> None:
        """Lay the columns out as the heads ask for."""
        super().__init__()
        log_std = [k for head in heads if "gaussian" in head.kind for k in _log_std_columns(head)]
        others = [k for k in range(heads[-1].stop) if k not in set(log_std)]
        num_log_std = len(log_std)
        self.log_std_clip = settings.log_std_clip_param
        self.log_std: nn.Parameter | None = None
        self.num_log_std = 0
        if log_std and settings.free_log_std:
            self.log_std = nn.Parameter(torch.full((num_log_std,), settings.initial_log_std))
        else:
            self.num_log_std = num_log_std
        num_outputs = len(others) + self.num_log_std
        self.linear = layers.linear(num_features, num_outputs, gain=layers.POLICY_HEAD_GAIN)
        if self.num_log_std:
            nn.init.constant_(self.linear.bias[len(others) :], settings.initial_log_std)
        columns = others + log_std
        order = sorted(range(len(columns)), key=columns.__getitem__)
        in_place = order == list(range(len(columns)))
        self.register_buffer("order", None if in_place else torch.tensor(order), persistent=False)

    def forward(self, features_BF: Tensor) -> Tensor:
        """Return action parameters [B, k]."""
        parameters = self.linear(features_BF)
        if self.log_std is not None:
            parameters = torch.cat((parameters, self.log_std.expand(parameters.shape[0], -1)), 1)
        elif self.num_log_std:
            others, log_std = parameters.tensor_split((-self.num_log_std,), 1)
            log_std = log_std.clamp(-self.log_std_clip, self.log_std_clip)
            parameters = torch.cat((others, log_std), 1)
        return parameters if self.order is None else parameters.index_select(1, self.order)

    def extra_repr(self) -> str:
        """Name what weights do not say."""
        return f"num_log_std={self.num_log_std}, log_std_clip={self.log_std_clip}"


def _log_std_columns(head: ActionHead) -> range:
    return range(head.start + len(head.sizes), head.stop)
