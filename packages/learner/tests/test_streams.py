"""Whole streams go through a module with what followed their rows."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider.learner.ranks import OneRank
from outrider.learner.rows.fragment_rows import Rows, rows_from_fragments, take_streams
from outrider.learner.rows.row_orders import DrawnOrders
from outrider.learner.training.estimates import estimate
from outrider.learner.training.gae import next_values
from outrider.learner.training.streams import StreamParts, forward_streams, whole_streams
from outrider.wire import take_streams as take_streams_of_fragment

CPU = torch.device("cpu")


def rows_of(fragment: Any) -> Rows:
    return rows_from_fragments([fragment], CPU)


def test_a_next_observation_stands_where_it_was_seen(lab: Any) -> None:
    fragment = lab.fragment(lab.policy(), [4, 2], end_probability=0.0)
    fragment = replace(
        fragment,
        terminated=np.array([0, 0, 0, 0, 1, 0], bool),
        truncated=np.array([0, 1, 0, 0, 0, 0], bool),
        next_rows=np.array([1, 3, 5]),
        next_observations={"": np.zeros((3, 3), np.float32)},
    )
    sequences = whole_streams(rows_of(fragment))
    assert sequences.row_QT.tolist() == [[0, 1, 6, 2, 3, 7], [4, 5, 8, 8, 8, 8]]
    assert sequences.starts_QT.int().tolist() == [[0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0]]
    assert sequences.slot_B.tolist() == [0, 1, 3, 4, 6, 7, 2, 5, 8]


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    end_probability=st.floats(0, 1),
    seed=st.integers(0, 1000),
    use_lstm=st.booleans(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_pass_gives_what_stepping_through_the_streams_gives(
    lab: Any, lengths: list[int], end_probability: float, seed: int, use_lstm: bool
) -> None:
    policy = lab.policy(use_lstm=use_lstm)
    rows = rows_of(lab.fragment(policy, lengths, seed=seed, end_probability=end_probability))
    walked = estimate(policy, rows, max_seq_len=100)
    with torch.no_grad():
        outputs = forward_streams(policy, rows)
    next_value_N = next_values(
        walked.value_N, rows.followed_N, rows.next_row_M, walked.value_of_next_observation_M
    )
    torch.testing.assert_close(outputs.parameters, walked.parameters, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(outputs.value_N, walked.value_N, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(outputs.next_value_N, next_value_N, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("use_lstm", [False, True])
def test_gradients_flow_through_values_and_not_through_what_followed(lab: Any, use_lstm: bool) -> None:
    policy = lab.policy(use_lstm=use_lstm)
    outputs = forward_streams(policy, rows_of(lab.fragment(policy, [5])))
    assert outputs.value_N.requires_grad
    assert not outputs.next_value_N.requires_grad


@pytest.mark.parametrize("use_lstm", [False, True])
def test_streams_without_rows_are_left_aside(lab: Any, use_lstm: bool) -> None:
    policy = lab.policy(use_lstm=use_lstm)
    fragment = lab.fragment(policy, [5, 7])
    rows = rows_of(fragment)
    gap = replace(
        rows,
        length_S=np.array([5, 0, 7]),
        num_next_S=np.insert(rows.num_next_S, 1, 0),
        stream_key_S=np.array([[0, 0, 0], [0, 1, 0], [0, 2, 0]], np.int32),
        state={name: column[[0, 0, 1]] for name, column in rows.state.items()},
    )
    with torch.no_grad():
        torch.testing.assert_close(forward_streams(policy, gap), forward_streams(policy, rows))


@given(seed=st.integers(0, 1000), first=st.integers(0, 3))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_taking_streams_of_rows_is_loading_the_streams_of_a_fragment(lab: Any, seed: int, first: int) -> None:
    fragment = lab.fragment(lab.policy(use_lstm=True), [5, 3, 7, 2], seed=seed, end_probability=0.3)
    taken = take_streams(rows_of(fragment), np.arange(first, 4))
    loaded = rows_of(take_streams_of_fragment(fragment, first, 4))
    for name in ("reward_N", "terminated_N", "truncated_N", "followed_N", "log_prob_N", "next_row_M"):
        assert torch.equal(getattr(taken, name), getattr(loaded, name)), name
    for name in ("observations", "actions", "next_observations", "state"):
        for path, column in getattr(loaded, name).items():
            assert torch.equal(getattr(taken, name)[path], column), name
    assert taken.length_S.tolist() == loaded.length_S.tolist()
    assert taken.num_next_S.tolist() == loaded.num_next_S.tolist()
    assert taken.stream_key_S.tolist() == loaded.stream_key_S.tolist()


def test_parts_are_whole_streams_and_hold_every_row_once(lab: Any) -> None:
    rows = rows_of(lab.fragment(lab.policy(), [5, 3, 7, 2, 6]))
    parts = StreamParts(rows, 10, OneRank()).shuffled(DrawnOrders(torch.Generator().manual_seed(0)))
    assert [num_rows for _, num_rows in parts] == [len(part) for part, _ in parts]
    lengths = [length for part, _ in parts for length in part.length_S.tolist()]
    assert (len(parts), sorted(lengths)) == (3, [2, 3, 5, 6, 7])
    rewards = torch.cat([part.reward_N for part, _ in parts])
    assert torch.equal(rewards.sort().values, rows.reward_N.sort().values)


def test_there_are_no_more_parts_than_streams(lab: Any) -> None:
    rows = rows_of(lab.fragment(lab.policy(), [50, 50]))
    assert StreamParts(rows, 1, OneRank()).num_parts == 2
