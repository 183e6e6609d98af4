"""Builds policies out of spaces and settings, with a network of the catalogue or the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from outrider.rlmodule.catalog import catalog_network
from outrider.rlmodule.first_weights import draw_weights, gains
from outrider.rlmodule.ignored_settings import warn_of_ignored
from outrider.rlmodule.network_check import check_network, require_factory, require_module
from outrider.rlmodule.policy import Policy
from outrider.wire import Space, action_heads

if TYPE_CHECKING:
    from outrider.rlmodule.protocols import NetworkFactory
    from outrider.rlmodule.settings import ModuleSettings


def build_policy(
    observation_space: Space,
    action_space: Space,
    settings: ModuleSettings,
    *,
    network: NetworkFactory | None = None,
    seed: int,
    critic_space: Space | None = None,
) -> Policy:
    """Make a policy with the catalogue's network or the user's; equal seeds give equal weights.

    `critic_space` is what a central critic sees besides the observation, if the value has one.
    Raises ValueError for spaces and settings that do not fit, and for a user's network that returns
    anything but what its Protocol promises.
    """
    heads = action_heads(action_space, box=settings.box_distribution)
    warn_of_ignored(settings, heads, is_own_network=network is not None)
    if network is None:
        module = catalog_network(observation_space, heads, settings, critic_space)
        policy = Policy(observation_space, action_space, module, settings, critic_space)
        alone = {name: parameter.unsqueeze(0) for name, parameter in policy.named_parameters()}
        draw_weights(gains(policy), [seed], alone)
        return policy
    require_factory(network)
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which also notes for each other kind of device where it was called: 0.5 ms.
        torch.default_generator.manual_seed(seed)
        module = network(observation_space, action_space, heads[-1].stop)
        require_module(module, network)
        policy = Policy(observation_space, action_space, module, settings, critic_space)
        check_network(policy)
        return policy
