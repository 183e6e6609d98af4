"""Episodes of single agents, alone, in fragments and in summaries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.testing.messages import example_fragment, same_message
from outrider.testing.multi_agent_messages import agent_episodes, example_team
from outrider.wire import (
    AgentEpisodes,
    EpisodeStatistics,
    Limits,
    WireError,
    decode_episode_statistics,
    decode_fragment,
    encode_episode_statistics,
    encode_fragment,
)
from outrider.wire.v1 import episode_statistics_pb2

NONE = EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64))


@pytest.mark.parametrize("policies", [[], [0], [3, 1, 3, 2**31 - 1]])
def test_agents_episodes_come_back_as_they_were(policies: list[int]) -> None:
    episodes = replace(NONE, agents=agent_episodes(policies))
    assert same_message(decode_episode_statistics(encode_episode_statistics(episodes)), episodes)


def test_a_fragment_in_which_only_agents_ended_says_so() -> None:
    fragment = replace(example_fragment(), episodes=replace(NONE, agents=agent_episodes([5])))
    assert same_message(decode_fragment(encode_fragment(fragment).to_bytes()), fragment)


def test_one_agent_has_no_episodes_besides_the_environments() -> None:
    episodes = example_fragment().episodes
    assert decode_episode_statistics(encode_episode_statistics(episodes)).agents is None
    message = episode_statistics_pb2.EpisodeStatistics.FromString(encode_episode_statistics(episodes))
    assert not message.HasField("agents")


AGENTS = agent_episodes([0, 4])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"policy": np.zeros(3, np.int32)}, r"policy of agents' episodes is int32\[3\] beside \[2\] returns"),
        ({"agent": np.zeros(2, np.int64)}, "agent of agents' episodes is int64"),
        ({"returns": np.zeros(2)}, "returns of agents' episodes is float64"),
        ({"lengths": np.array([1, -1])}, "lengths of agents' episodes has -1; it is at least 0"),
        ({"policy": np.array([0, -1], np.int32)}, "policy of agents' episodes has -1; it is at least 0"),
        ({"environment": np.array([0, -1], np.int32)}, "environment of agents' episodes has -1"),
        ({"episode": np.zeros(2, np.int32)}, "episode of agents' episodes is int32"),
        ({"returns": np.zeros((2, 1), np.float32)}, r"beside \[2, 1\] returns"),
    ],
)
def test_a_broken_rule_is_named(changes: dict[str, Any], sentence: str) -> None:
    broken: AgentEpisodes = replace(AGENTS, **changes)
    with pytest.raises(ValueError, match=sentence):
        encode_episode_statistics(replace(NONE, agents=broken))
    with pytest.raises(ValueError, match=sentence):
        encode_fragment(replace(example_fragment(), episodes=replace(NONE, agents=broken)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("agents.policy.append(1)", "policy of agents' episodes is int32.3."),
        ("agents.policy[0] = 2**31", "policy of agents' episodes has 2147483648; it is at most 2147483647"),
        ("agents.agent[1] = 2**32 - 1", "agent of agents' episodes has 4294967295"),
        ("agents.lengths[1] = 2**63", "lengths of agents' episodes has 9223372036854775808"),
        ("agents.environment[0] = 2**31", "environment of agents' episodes has 2147483648"),
        ("agents.episode[1] = 2**63", "episode of agents' episodes has 9223372036854775808"),
        ("del agents.episode[:]", r"episode of agents' episodes is int64\[0\]"),
        ("del agents.returns[:]", "beside .0. returns"),
    ],
)
def test_a_message_that_lies_is_refused(change: str, sentence: str) -> None:
    message = episode_statistics_pb2.EpisodeStatistics.FromString(
        encode_episode_statistics(replace(NONE, agents=AGENTS))
    )
    exec(change, {"agents": message.agents})
    with pytest.raises(WireError, match=sentence):
        decode_episode_statistics(message.SerializeToString())


@pytest.mark.parametrize("name", ["policy", "agent", "returns", "lengths", "environment", "episode"])
def test_more_episodes_than_allowed_are_refused(name: str) -> None:
    message = episode_statistics_pb2.EpisodeStatistics()
    getattr(message.agents, name).extend([1] * 9)
    with pytest.raises(WireError, match="max_episodes is 8 and 9 came"):
        decode_episode_statistics(message.SerializeToString(), Limits(max_episodes=8))


def test_an_episode_of_each_of_a_thousand_agents_takes_about_thirteen_bytes() -> None:
    episodes = replace(NONE, agents=agent_episodes(list(range(1000))))
    assert len(encode_episode_statistics(episodes)) < 14_000


def test_agents_of_others_have_their_episodes_there() -> None:
    decoded = decode_fragment(encode_fragment(example_team()).to_bytes())
    assert decoded.episodes.agents is not None
    assert decoded.episodes.agents.policy.tolist() == [0, 4]
    assert decoded.others[0].episodes.agents is not None
    assert decoded.others[0].episodes.agents.policy.tolist() == [2]
