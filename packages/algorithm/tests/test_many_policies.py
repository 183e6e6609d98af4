"""What a run of many policies costs before it begins, counted, as times differ; and what it is told."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from outrider.algorithm import PPOConfig
from outrider.algorithm.assembly.multi_agent_blueprint import plan_policies
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


def test_policies_that_a_function_spreads_over_environments_are_all_seen_to_act() -> None:
    names = [str(number) for number in range(300)]
    config = PPOConfig().environment("CartPole-v1").rl_module(fcnet_hiddens=(4,))
    config.multi_agent(
        num_agents=1, policies=names, policy_mapping_fn=lambda _, episode: names[episode.environment % 300]
    )
    assert len(plan_policies(config.settings, 1, None, 8).book) == 300  # a warning is an error here


def test_a_checkpoint_takes_the_memory_of_one_copy_of_what_policies_go_on_from(tmp_path: Path) -> None:
    config = PPOConfig().environment("CartPole-v1").multi_agent(num_agents=64, policies="per_agent")
    with config.build() as algorithm:
        path = algorithm.save(tmp_path / "first")  # what is imported and made once does not count
        tracemalloc.start()
        try:
            algorithm.save(tmp_path / "second")
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    state = (path / "arrays.npz").stat().st_size
    assert state > 64 * 12 * 9_155
    assert most < 1.5 * state
