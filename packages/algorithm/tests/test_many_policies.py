"""What a run of many policies costs before it begins: counted, as times differ between machines."""

from __future__ import annotations

from typing import Any

import pytest

from outrider.algorithm import PPOConfig
from outrider.rlmodule.feed_forward_network import FeedForwardNetwork


def build(num_agents: int) -> None:
    config = PPOConfig().environment("CartPole-v1").rl_module(fcnet_hiddens=(4,)).debugging(seed=1)
    config.env_runners(gym_env_vectorize_mode="vector_entry_point")
    config.multi_agent(num_agents=num_agents, policies="per_agent").build().stop()


def test_as_many_networks_are_built_for_many_policies_as_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FeedForwardNetwork] = []
    make = FeedForwardNetwork.__init__

    def counted(network: FeedForwardNetwork, *given: Any) -> None:
        made.append(network)
        make(network, *given)

    monkeypatch.setattr(FeedForwardNetwork, "__init__", counted)
    build(2)
    num_for_few = len(made)
    build(64)
    assert len(made) == 2 * num_for_few
    assert num_for_few > 0
