"""A network that remembers. Axes: B rows; S streams; T time; H cell size; k action parameters.

Where its tensors are those of P policies: Q sequences of each, L places of their rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from outrider.rlmodule import layers
from outrider.rlmodule.action_parameters import action_parameters
from outrider.rlmodule.features import encoder
from outrider.rlmodule.lstm import Lstm

if TYPE_CHECKING:
    from outrider.rlmodule.protocols import Observation
    from outrider.rlmodule.settings import ModuleSettings
    from outrider.rlmodule.stacked_sequences import StackedSequences
    from outrider.wire import ActionHead, Space


class RecurrentNetwork(nn.Module):
    """An encoder, an LSTM and a head for the policy, and the same for the value unless shared.

    State "h" and "c", and where layers are not shared "value_h" and "value_c", each [B, H]. A central
    critic remembers nothing: what it sees is not there where runners step the policy's memory.
    """

    def __init__(
        self,
        space: Space,
        heads: tuple[ActionHead, ...],
        settings: ModuleSettings,
        critic_space: Space | None = None,
    ) -> None:
        """Make the layers; `first_weights` draws their weights."""
        super().__init__()
        self.cell_size = settings.lstm_cell_size
        self.policy_memory = _Memory(space, settings)
        self.policy_head = action_parameters(self.cell_size, heads, settings)
        self.value_memory = self.value_encoder = None
        value_width = self.cell_size
        if critic_space is not None:
            value_encoder = encoder(space, settings, critic_space=critic_space)
            self.value_encoder, value_width = value_encoder.layers, value_encoder.width
        elif not settings.vf_share_layers:
            self.value_memory = _Memory(space, settings)
        self.value_head = layers.Linear(value_width, 1, gain=layers.VALUE_HEAD_GAIN)

    def initial_state(self) -> dict[str, Tensor]:
        """Return zeros."""
        names = ("h", "c") if self.value_memory is None else ("h", "c", "value_h", "value_c")
        return {name: torch.zeros(self.cell_size) for name in names}

    def forward(
        self, observation: Observation, state: dict[str, Tensor], *critic: Observation
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Take one step; see `RecurrentRLModule`."""
        h_BH, c_BH = self.policy_memory.step(observation, state["h"], state["c"])
        next_state = {"h": h_BH, "c": c_BH}
        value_h_BH = h_BH
        if self.value_encoder is not None:
            value_h_BH = self.value_encoder((observation, *critic))
        elif self.value_memory is not None:
            value_h_BH, value_c_BH = self.value_memory.step(observation, state["value_h"], state["value_c"])
            next_state |= {"value_h": value_h_BH, "value_c": value_c_BH}
        return self.policy_head(h_BH), self.value_head(value_h_BH).squeeze(-1), next_state

    def forward_sequence(
        self, observation: Observation, state: dict[str, Tensor], starts: Tensor, *critic: Observation
    ) -> tuple[Tensor, Tensor]:
        """Run whole sequences; see `SequenceRLModule`."""
        rows = _merge_axes(observation)
        h_STH = value_h_STH = self.policy_memory.sequence(rows, state["h"], state["c"], starts)
        if self.value_encoder is not None:
            features_NF = self.value_encoder((rows, *map(_merge_axes, critic)))
            value_h_STH = features_NF.reshape(*starts.shape, -1)
        elif self.value_memory is not None:
            value_h_STH = self.value_memory.sequence(rows, state["value_h"], state["value_c"], starts)
        parameters = self.policy_head(h_STH.flatten(0, 1)).reshape(*starts.shape, -1)
        return parameters, self.value_head(value_h_STH).squeeze(-1)

    def unroll(
        self, observation: Observation, sequences: StackedSequences, *critic: Observation
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Run the sequences of P policies; see `Policy.unroll`."""
        state = sequences.state
        h_PBH, h_PLH, c_PLH = self.policy_memory.unroll(observation, state["h"], state["c"], sequences)
        states, value_h_PBH = {"h": h_PLH, "c": c_PLH}, h_PBH
        if self.value_encoder is not None:
            value_h_PBH = self.value_encoder((observation, *critic))
        elif self.value_memory is not None:
            value_h_PBH, states["value_h"], states["value_c"] = self.value_memory.unroll(
                observation, state["value_h"], state["value_c"], sequences
            )
        return self.policy_head(h_PBH), self.value_head(value_h_PBH).squeeze(-1), states


class _Memory(nn.Module):
    """An encoder with an LSTM on top."""

    def __init__(self, space: Space, settings: ModuleSettings) -> None:
        super().__init__()
        below = encoder(space, settings)
        self.encoder = below.layers
        self.lstm = Lstm(below.width, settings.lstm_cell_size)

    def step(self, observation: Observation, h_BH: Tensor, c_BH: Tensor) -> tuple[Tensor, Tensor]:
        return self.lstm.step(self.encoder(observation), h_BH, c_BH)

    def sequence(self, rows: Observation, h_SH: Tensor, c_SH: Tensor, starts_ST: Tensor) -> Tensor:
        features_STF = self.encoder(rows).reshape(*starts_ST.shape, -1)
        return self.lstm.sequence(features_STF, h_SH, c_SH, starts_ST)

    def unroll(
        self, observation: Observation, h_PQH: Tensor, c_PQH: Tensor, sequences: StackedSequences
    ) -> tuple[Tensor, Tensor, Tensor]:
        return self.lstm.unroll(self.encoder(observation), h_PQH, c_PQH, sequences)


def _merge_axes(observation: Observation) -> Observation:
    """Make [S, T, ...] rows [S * T, ...]."""
    match observation:
        case dict():
            return {name: _merge_axes(part) for name, part in observation.items()}
        case tuple():
            return tuple(_merge_axes(part) for part in observation)
        case _:
            return observation.flatten(0, 1)
