"""A network that acts by the present observation alone.

Axes: P policies where they are stacked, B rows, F features, k parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from outrider.rlmodule import layers
from outrider.rlmodule.action_parameters import action_parameters
from outrider.rlmodule.features import encoder

if TYPE_CHECKING:
    from outrider.rlmodule.protocols import Observation
    from outrider.rlmodule.settings import ModuleSettings
    from outrider.wire import ActionHead, Space


class FeedForwardNetwork(nn.Module):
    """An encoder and a head for the policy, and the same for the value unless layers are shared."""

    def __init__(
        self,
        space: Space,
        heads: tuple[ActionHead, ...],
        settings: ModuleSettings,
        critic_space: Space | None = None,
    ) -> None:
        """Make the layers; `first_weights` draws their weights."""
        super().__init__()
        policy_encoder = encoder(space, settings)
        self.policy_encoder = policy_encoder.layers
        self.policy_head = action_parameters(policy_encoder.width, heads, settings)
        value_encoder = None
        if not settings.vf_share_layers:
            value_encoder = encoder(space, settings, critic_space=critic_space)
        self.value_encoder = None if value_encoder is None else value_encoder.layers
        width = (value_encoder or policy_encoder).width
        self.value_head = layers.Linear(width, 1, gain=layers.VALUE_HEAD_GAIN)

    def forward(self, observation: Observation, *critic: Observation) -> tuple[Tensor, Tensor]:
        """Return action parameters [B, k] and values [B]; `critic` is what a central one sees besides."""
        features_BF = value_features_BF = self.policy_encoder(observation)
        if self.value_encoder is not None:
            value_features_BF = self.value_encoder((observation, *critic) if critic else observation)
        return self.policy_head(features_BF), self.value_head(value_features_BF).squeeze(-1)
