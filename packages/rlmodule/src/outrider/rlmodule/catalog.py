"""The networks that come with Outrider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider.rlmodule.feed_forward_network import FeedForwardNetwork
from outrider.rlmodule.recurrent_network import RecurrentNetwork

if TYPE_CHECKING:
    from torch import nn

    from outrider.rlmodule.settings import ModuleSettings
    from outrider.wire import ActionHead, Space


def catalog_network(
    observation_space: Space,
    heads: tuple[ActionHead, ...],
    settings: ModuleSettings,
    critic_space: Space | None = None,
) -> nn.Module:
    """Make the network that the settings ask for; `first_weights` draws its weights."""
    if critic_space is not None and settings.vf_share_layers:
        raise ValueError(
            "vf_share_layers=True leaves a central critic no layers of its own through which to see more "
            "than the policy; set vf_share_layers=False, or give the policy no critic_space"
        )
    network = RecurrentNetwork if settings.use_lstm else FeedForwardNetwork
    return network(observation_space, heads, settings, critic_space)
