"""Messages of runs with several policies, to test with: small ones worked out by hand, and random ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.testing.messages import example_fragment, example_policy_graph, random_fragment
from outrider.wire import (
    AgentEpisodes,
    EpisodeStatistics,
    Fragment,
    PolicyGraph,
    SamplingStatistics,
    Weights,
    WeightsStack,
    joint_fingerprint,
)


def example_team() -> Fragment:
    """Return `example_fragment` with central critics, whose environments have agents of another kind, too.

    Policies 0 and 4 act for the agents of the first kind, policy 2 for the one of the other kind.
    """
    fragment = example_fragment()
    streams = replace(fragment.streams, policy=np.array([0, 4], np.int32))
    other = Fragment(
        streams=replace(
            fragment.streams,
            lengths=np.array([2]),
            policy=np.array([2], np.int32),
            environment=np.array([1], np.int32),
            agent=np.array([1], np.int32),
            state={},
        ),
        observations={"": np.array([[0.5, 1.5], [2.5, 3.5]], np.float32)},
        actions={"": np.array([[1.0], [-1.0]], np.float32)},
        rewards=np.array([0.5, 0.25], np.float32),
        terminated=np.array([0, 1], np.bool_),
        truncated=np.zeros(2, np.bool_),
        next_rows=np.zeros(0, np.int64),
        next_observations={"": np.zeros((0, 2), np.float32)},
        action_log_probs=np.array([-0.5, -0.25], np.float32),
        policy_version=np.array([3, 12]),
        episodes=EpisodeStatistics(
            returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64), agents=agent_episodes([2])
        ),
    )
    return replace(
        fragment,
        streams=streams,
        critic_states={"": np.arange(9, dtype=np.float32)},
        critic_rows=np.array([0, 1, 2, 3, 5, 6, 7]),
        next_critic_rows=np.array([4, 7, 8]),
        episodes=replace(fragment.episodes, agents=agent_episodes([0, 4])),
        others=(other,),
    )


def agent_episodes(policies: list[int]) -> AgentEpisodes:
    """Return an episode for each of these policies: the i-th of agent i, i + 1 steps, returns i + 0.5.

    Two agents each have played with each other, in the first episode of an environment.
    """
    places = np.arange(len(policies))
    return AgentEpisodes(
        policy=np.array(policies, np.int32),
        agent=places.astype(np.int32),
        returns=(places + 0.5).astype(np.float32),
        lengths=places + 1,
        environment=(places // 2).astype(np.int32),
        episode=np.zeros(len(places), np.int64),
    )


def random_team(seed: int, *, num_others: int = 2, num_streams: int = 3) -> Fragment:
    """Return a fragment of several architectures that keeps every rule; some seeds lack what they may."""
    rng = np.random.default_rng(seed)
    parts = [
        _random_part(rng, first_policy=2 * place, num_streams=num_streams) for place in range(1 + num_others)
    ]
    none = EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64))
    others = [
        replace(part, episodes=replace(none, agents=part.episodes.agents), statistics=SamplingStatistics())
        for part in parts[1:]
    ]
    return replace(parts[0], others=tuple(others))


def _random_part(rng: np.random.Generator, *, first_policy: int, num_streams: int) -> Fragment:
    fragment = random_fragment(int(rng.integers(2**32)), num_streams=num_streams)
    policy = fragment.streams.policy + np.int32(first_policy)
    agents = agent_episodes(rng.permutation(policy).tolist()) if rng.random() < 0.7 else None
    fragment = replace(
        fragment,
        streams=replace(fragment.streams, policy=policy),
        episodes=replace(fragment.episodes, agents=agents),
    )
    if rng.random() < 0.5:
        return fragment
    num_states = int(rng.integers(1, 9))
    return replace(
        fragment,
        critic_states={"": rng.random((num_states, 2)), "/map": rng.integers(0, 9, (num_states, 2, 2))},
        critic_rows=rng.integers(0, num_states, fragment.num_rows),
        next_critic_rows=rng.integers(0, num_states, len(fragment.next_rows)),
    )


def example_stacks() -> Weights:
    """Return weights of three policies of one architecture and one of another: quarters, and a float64."""
    tensors: dict[str, NDArray[Any]] = {
        "walker/pi.weight": np.arange(12, dtype=np.float32).reshape(3, 2, 2) / 4,
        "walker/mean": np.array([1e-300, 1.0 / 3.0, 2.0]),
        "seer/pi.bias": np.array([[-1.0, 1.0]], np.float32),
    }
    stacks = (
        WeightsStack(
            name="walker",
            fingerprint="f00d",
            policies=np.array([0, 1, 4], np.int32),
            versions=np.array([3, 0, 2]),
        ),
        WeightsStack(
            name="seer", fingerprint="cafe", policies=np.array([3], np.int32), versions=np.array([3])
        ),
    )
    return Weights(version=3, fingerprint=joint_fingerprint(stacks), tensors=tensors, stacks=stacks)


def example_stacked_graph() -> PolicyGraph:
    """Return `example_policy_graph` as one that acts for several policies."""
    return replace(example_policy_graph(), is_stacked=True)
