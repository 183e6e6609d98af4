"""A network that acts by the present observation alone. Axes: B rows, F features, k parameters."""

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

    def __init__(self, space: Space, heads: tuple[ActionHead, ...], settings: ModuleSettings) -> None:
        """Initialise from torch's present generator."""
        super().__init__()
        policy_encoder = encoder(space, settings)
        self.policy_encoder = policy_encoder.layers
        self.policy_head = action_parameters(policy_encoder.width, heads, settings)
        self.value_encoder = None if settings.vf_share_layers else encoder(space, settings).layers
        self.value_head = layers.linear(policy_encoder.width, 1, gain=layers.VALUE_HEAD_GAIN)

    def forward(self, observation: Observation) -> tuple[Tensor, Tensor]:
        """Return action parameters [B, k] and values [B]."""
        features_BF = self.policy_encoder(observation)
        value_features_BF = features_BF if self.value_encoder is None else self.value_encoder(observation)
        return self.policy_head(features_BF), self.value_head(value_features_BF).squeeze(-1)
