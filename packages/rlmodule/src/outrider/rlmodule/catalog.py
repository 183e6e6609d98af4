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
    observation_space: Space, heads: tuple[ActionHead, ...], settings: ModuleSettings
) -> nn.Module:
    """Make the network that the settings ask for, initialised from torch's present generator."""
    if settings.use_lstm:
        return RecurrentNetwork(observation_space, heads, settings)
    return FeedForwardNetwork(observation_space, heads, settings)
