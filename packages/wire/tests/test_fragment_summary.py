"""Summaries of fragments, and their way to bytes and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.testing.messages import example_fragment, random_fragment, same_message
from outrider.testing.multi_agent_messages import example_team, random_team
from outrider.wire import (
    EpisodeStatistics,
    FragmentSummary,
    Limits,
    SamplingStatistics,
    WireError,
    decode_fragment_summary,
    encode_fragment_summary,
    summarise,
)
from outrider.wire.v1 import fragment_summary_pb2

EXAMPLE = summarise(example_fragment())


def test_a_summary_says_what_the_example_holds() -> None:
    assert (EXAMPLE.num_rows, EXAMPLE.num_streams, EXAMPLE.policy_version) == (7, 2, 12)
    assert EXAMPLE.episodes.returns.tolist() == [3.0, 11.0]
    assert EXAMPLE.statistics.environment_s == 0.5


def test_the_version_of_a_summary_is_the_oldest_that_acted() -> None:
    mixed = replace(example_fragment(), policy_version=np.array([5, 5, 4, 6, 5, 5, 5]))
    assert summarise(mixed).policy_version == 4


@given(seed=st.integers(0, 2**32 - 1), num_streams=st.integers(0, 5))
def test_every_summary_comes_back_as_it_was(seed: int, num_streams: int) -> None:
    summary = summarise(random_fragment(seed, num_streams=num_streams))
    assert same_message(decode_fragment_summary(encode_fragment_summary(summary)), summary)


@given(seed=st.integers(0, 2**32 - 1), num_others=st.integers(1, 3))
def test_every_summary_of_several_architectures_comes_back_as_it_was(seed: int, num_others: int) -> None:
    summary = summarise(random_team(seed, num_others=num_others))
    assert same_message(decode_fragment_summary(encode_fragment_summary(summary)), summary)


def test_a_summary_counts_what_all_architectures_did() -> None:
    team = summarise(example_team())
    assert (team.num_rows, team.num_streams, team.policy_version) == (9, 3, 3)
    assert team.episodes.returns.tolist() == [3.0, 11.0]
    assert team.episodes.agents is not None
    assert team.episodes.agents.policy.tolist() == [0, 4, 2]
    assert team.episodes.agents.lengths.tolist() == [1, 2, 1]


def test_a_fragment_without_rows_of_the_first_architecture_is_as_old_as_the_others() -> None:
    empty = random_team(1, num_streams=0, num_others=0)
    assert summarise(replace(empty, others=example_team().others)).policy_version == 3


def test_a_summary_is_small_whatever_the_fragment() -> None:
    large = summarise(random_fragment(0, num_streams=1000, max_length=50))
    assert len(encode_fragment_summary(large)) < 100


def test_an_empty_message_is_the_summary_of_an_empty_fragment() -> None:
    empty = decode_fragment_summary(b"")
    assert (empty.num_rows, empty.num_streams, empty.policy_version) == (0, 0, 0)
    assert empty.episodes.lengths.tolist() == []
    assert empty.statistics == SamplingStatistics()


IMPOSSIBLE: list[tuple[FragmentSummary, str]] = [
    (replace(EXAMPLE, num_rows=1), "1 rows in 2 streams; a stream has at least 1 row"),
    (replace(EXAMPLE, num_streams=0), "7 rows in 0 streams"),
    (replace(EXAMPLE, num_streams=-1), "7 rows in -1 streams"),
    (replace(EXAMPLE, policy_version=-1), "policy version -1; it counts from 0"),
    (replace(EXAMPLE, statistics=SamplingStatistics(total_s=float("inf"))), "finite"),
    (
        replace(
            EXAMPLE, episodes=EpisodeStatistics(returns=np.zeros(2, np.float32), lengths=np.zeros(2, int))
        ),
        "an episode of 0 steps",
    ),
]


@pytest.mark.parametrize(("summary", "sentence"), IMPOSSIBLE)
def test_a_summary_that_belongs_to_no_fragment_is_not_sent(summary: FragmentSummary, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        encode_fragment_summary(summary)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_rows": 1}, "1 rows in 2 streams"),
        ({"num_rows": 2**62}, "max_rows is 16777216 and 4611686018427387904 came"),
        ({"num_rows": 2**24, "num_streams": 2**21}, "max_streams is 1048576 and 2097152 came"),
        ({"policy_version": 2**63}, "it counts from 0 to 2\\*\\*63 - 1"),
    ],
)
def test_a_summary_that_lies_is_refused(change: dict[str, int], sentence: str) -> None:
    message = fragment_summary_pb2.FragmentSummary.FromString(encode_fragment_summary(EXAMPLE))
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(WireError, match=sentence):
        decode_fragment_summary(message.SerializeToString())


def test_a_summary_over_the_size_limit_is_refused() -> None:
    with pytest.raises(WireError, match="max_header_bytes is 8"):
        decode_fragment_summary(encode_fragment_summary(EXAMPLE), Limits(max_header_bytes=8))
