"""Advantages are right at every kind of end."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider.learner.rows.fragment_rows import rows_from_fragments
from outrider.learner.training.gae import backward_sums, gae, next_values
from outrider.wire import Fragment


def one_step_advantage(*, terminated: bool = False, truncated: bool = False) -> float:
    advantage = gae(
        torch.tensor([1.0]),
        torch.tensor([0.0]),
        torch.tensor([10.0]),
        torch.tensor([terminated]),
        torch.tensor([not (terminated or truncated)]),
        discount=0.5,
        trace_decay=1.0,
    )
    return float(advantage)


def test_truncation_bootstraps_and_termination_does_not() -> None:
    assert one_step_advantage(truncated=True) == 6.0
    assert one_step_advantage(terminated=True) == 1.0


def test_a_cut_after_three_steps_gives_the_closed_form_for_a_constant_value() -> None:
    reward, value, next_value = torch.ones(3), torch.full((3,), 10.0), torch.full((3,), 10.0)
    nothing, followed = torch.zeros(3, dtype=torch.bool), torch.tensor([True, True, False])
    advantage = gae(reward, value, next_value, nothing, followed, discount=0.99, trace_decay=1.0)
    np.testing.assert_allclose(advantage + value, [12.67309, 11.791, 10.9], rtol=1e-6)


def test_a_termination_after_three_steps_gives_the_plain_discounted_sum() -> None:
    value, last = torch.full((3,), 10.0), torch.tensor([False, False, True])
    advantage = gae(torch.ones(3), value, value, last, ~last, discount=0.99, trace_decay=1.0)
    np.testing.assert_allclose(advantage + value, [2.9701, 1.99, 1.0], rtol=1e-6)


def test_nothing_leaks_from_the_next_episode_or_stream() -> None:
    followed = torch.tensor([True, False, True, False])
    nothing = torch.zeros(4, dtype=torch.bool)
    value = torch.full((4,), 10.0)
    args = (value, value, nothing, followed)
    calm = gae(torch.tensor([1.0, 1.0, 1.0, 1.0]), *args, discount=0.99, trace_decay=0.95)
    wild = gae(torch.tensor([1.0, 1.0, 1e6, -1e6]), *args, discount=0.99, trace_decay=0.95)
    assert torch.equal(calm[:2], wild[:2])


def test_what_follows_a_row_is_the_next_row_or_the_recorded_observation() -> None:
    followed = torch.tensor([True, False, True, False])
    values = next_values(torch.tensor([1.0, 2.0, 3.0, 4.0]), followed, torch.tensor([3]), torch.tensor([9.0]))
    assert values.tolist() == [2.0, 0.0, 4.0, 9.0]


@given(data=st.data(), num_rows=st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_doubling_solves_the_recursion_that_a_loop_solves(data: st.DataObject, num_rows: int) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    addend = rng.normal(size=num_rows)
    factor = rng.uniform(0.5, 1.2, num_rows) * (rng.random(num_rows) < data.draw(st.floats(0, 1)))
    factor[-1] = 0.0
    expected = addend.copy()
    for row in range(num_rows - 2, -1, -1):
        expected[row] += factor[row] * expected[row + 1]
    actual = backward_sums(torch.from_numpy(addend), torch.from_numpy(factor))
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


def slow_advantages(fragment: Fragment, value: list[float], next_value: dict[int, float]) -> list[float]:
    """Go through each stream on its own, an episode at a time, backwards."""
    discount, trace_decay = 0.9, 0.8
    advantages = [0.0] * fragment.num_rows
    first = 0
    for length in fragment.streams.lengths.tolist():
        episode: list[int] = []
        for row in range(first, first + length):
            episode.append(row)
            if not (fragment.terminated[row] or fragment.truncated[row] or row == first + length - 1):
                continue
            following = 0.0 if fragment.terminated[row] else next_value[row]
            advantage = 0.0
            for step in reversed(episode):
                delta = float(fragment.rewards[step]) + discount * following - value[step]
                advantage = delta + discount * trace_decay * advantage
                advantages[step], following = advantage, value[step]
            episode = []
        first += length
    return advantages


@given(
    lengths=st.lists(st.integers(1, 17), min_size=1, max_size=6),
    end_probability=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ragged_streams_give_what_a_loop_over_their_episodes_gives(
    lab: Any, lengths: list[int], end_probability: float, seed: int
) -> None:
    fragment = lab.fragment(lab.policy(), lengths, seed=seed, end_probability=end_probability)
    rows = rows_from_fragments([fragment], torch.device("cpu"))
    rng = np.random.default_rng(seed)
    value_N = torch.from_numpy(rng.normal(5.0, size=len(rows)).astype(np.float32))
    value_M = torch.from_numpy(rng.normal(5.0, size=len(rows.next_row_M)).astype(np.float32))
    next_value_N = next_values(value_N, rows.followed_N, rows.next_row_M, value_M)
    columns = (rows.reward_N, value_N, next_value_N, rows.terminated_N, rows.followed_N)
    actual = gae(*columns, discount=0.9, trace_decay=0.8)
    recorded = dict(zip(fragment.next_rows.tolist(), value_M.tolist(), strict=True))
    expected = slow_advantages(fragment, value_N.tolist(), recorded)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_columns_of_different_lengths_are_refused() -> None:
    one, two = torch.zeros(1), torch.zeros(2)
    with pytest.raises(
        ValueError, match=r"gae got columns of shapes .*; give five of one shape \[\.\.\., N\]"
    ):
        gae(one, two, one, one.bool(), one.bool(), discount=0.9, trace_decay=0.9)
