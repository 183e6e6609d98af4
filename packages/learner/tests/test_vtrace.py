"""V-trace is right at every kind of end, for every ratio and bound."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider.learner.rows.fragment_rows import rows_from_fragments
from outrider.learner.training.gae import gae, next_values
from outrider.learner.training.vtrace import VTrace, vtrace
from outrider.learner.training.vtrace_settings import RatioBounds
from outrider.wire import Fragment

ONE = RatioBounds(1.0, 1.0, 1.0)


def three_steps(*, terminated: bool) -> VTrace:
    """Reward 1 and value 10 everywhere, under the policy that acted."""
    ten, last = torch.full((3,), 10.0), torch.tensor([False, False, True])
    return vtrace(
        torch.ones(3),
        ten,
        ten,
        last & terminated,
        ~last,
        torch.ones(3),
        discount=0.99,
        trace_decay=1.0,
        bounds=ONE,
    )


def test_a_cut_after_three_steps_bootstraps_from_what_followed() -> None:
    targets = three_steps(terminated=False).target_N
    np.testing.assert_allclose(targets, [12.67309, 11.791, 10.9], rtol=1e-6)


def test_a_termination_after_three_steps_gives_the_plain_discounted_sum() -> None:
    targets = three_steps(terminated=True).target_N
    np.testing.assert_allclose(targets, [2.9701, 1.99, 1.0], rtol=1e-6)


@pytest.mark.parametrize("terminated", [False, True])
def test_advantages_of_the_acting_policy_compare_targets_with_values(terminated: bool) -> None:
    targets, advantages = three_steps(terminated=terminated)
    np.testing.assert_allclose(advantages, targets - 10.0, rtol=1e-5)


def test_a_ratio_is_bounded_where_its_bound_says() -> None:
    one, no = torch.ones(1), torch.zeros(1, dtype=torch.bool)
    columns = (one, 0 * one, 0 * one, no, no, 4 * one)
    target, advantage = vtrace(
        *columns, discount=1.0, trace_decay=1.0, bounds=RatioBounds(rho=3.0, c=1.0, pg_rho=2.0)
    )
    assert (target.item(), advantage.item()) == (3.0, 2.0)


def test_a_trace_is_bounded_by_c_alone() -> None:
    followed = torch.tensor([True, False])
    columns = (torch.tensor([0.0, 1.0]), *[torch.zeros(2)] * 2, ~followed & followed, followed)
    target, advantage = vtrace(
        *columns,
        torch.tensor([9.0, 1.0]),
        discount=0.5,
        trace_decay=1.0,
        bounds=RatioBounds(rho=1.0, c=3.0, pg_rho=7.0),
    )
    assert target.tolist() == [0.5 * 3.0, 1.0]
    assert advantage.tolist() == [7.0 * 0.5, 1.0]


def test_nothing_leaks_from_the_next_episode_or_stream() -> None:
    followed = torch.tensor([True, False, True, False])
    nothing = torch.zeros(4, dtype=torch.bool)
    value = torch.full((4,), 10.0)

    def first_two(reward: list[float], ratio: list[float]) -> list[torch.Tensor]:
        columns = (torch.tensor(reward), value, value, nothing, followed, torch.tensor(ratio))
        return [
            column[:2] for column in vtrace(*columns, discount=0.99, trace_decay=1.0, bounds=RatioBounds())
        ]

    calm = first_two([1.0, 1.0, 1.0, 1.0], [0.5, 2.0, 1.0, 1.0])
    wild = first_two([1.0, 1.0, 1e6, -1e6], [0.5, 2.0, 1e3, 1e3])
    assert all(torch.equal(*pair) for pair in zip(calm, wild, strict=True))


def slow_vtrace(
    fragment: Fragment,
    value: list[float],
    next_value: dict[int, float],
    ratio: list[float],
    *,
    discount: float,
    trace_decay: float,
    bounds: RatioBounds,
) -> tuple[list[float], list[float]]:
    """Sum products as eq. 1 of the paper writes them, for each row, within the row's episode."""
    terminated, num_rows = fragment.terminated, fragment.num_rows
    last_rows = set((np.cumsum(fragment.streams.lengths) - 1).tolist())

    def is_last(row: int) -> bool:
        return bool(terminated[row] or fragment.truncated[row]) or row in last_rows

    def following(row: int, of_next: Callable[[int], float]) -> float:
        if terminated[row]:
            return 0.0
        return next_value[row] if is_last(row) else of_next(row + 1)

    def target(s: int) -> float:
        total, product = 0.0, 1.0
        for t in range(s, num_rows):
            delta = min(bounds.rho, ratio[t]) * (
                float(fragment.rewards[t]) + discount * following(t, value.__getitem__) - value[t]
            )
            total += discount ** (t - s) * product * delta
            if is_last(t):
                break
            product *= trace_decay * min(bounds.c, ratio[t])
        return value[s] + total

    targets = [target(row) for row in range(num_rows)]
    advantages = []
    for s in range(num_rows):
        mixed = following(s, lambda row: trace_decay * targets[row] + (1.0 - trace_decay) * value[row])
        difference = float(fragment.rewards[s]) + discount * mixed - value[s]
        advantages.append(min(bounds.pg_rho, ratio[s]) * difference)
    return targets, advantages


BOUND = st.one_of(st.floats(0.1, 3.0), st.just(math.inf))


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    end_probability=st.floats(0, 1),
    seed=st.integers(0, 1000),
    discount=st.floats(0, 1),
    trace_decay=st.floats(0, 1),
    bounds=st.builds(RatioBounds, BOUND, BOUND, BOUND),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_episodes_give_what_the_papers_sums_of_products_give(
    lab: Any,
    lengths: list[int],
    end_probability: float,
    seed: int,
    discount: float,
    trace_decay: float,
    bounds: RatioBounds,
) -> None:
    fragment = lab.fragment(lab.policy(), lengths, seed=seed, end_probability=end_probability)
    rows = rows_from_fragments([fragment], torch.device("cpu"))
    rng = np.random.default_rng(seed)
    value_N = torch.from_numpy(rng.normal(5.0, size=len(rows)))
    value_M = torch.from_numpy(rng.normal(5.0, size=len(rows.next_row_M)))
    ratio_N = torch.from_numpy(np.exp(rng.normal(size=len(rows))))
    next_value_N = next_values(value_N, rows.followed_N, rows.next_row_M, value_M)
    columns = (rows.reward_N.double(), value_N, next_value_N, rows.terminated_N, rows.followed_N)
    dials: dict[str, Any] = {"discount": discount, "trace_decay": trace_decay, "bounds": bounds}
    actual = vtrace(*columns, ratio_N, **dials)
    recorded = dict(zip(fragment.next_rows.tolist(), value_M.tolist(), strict=True))
    expected = slow_vtrace(fragment, value_N.tolist(), recorded, ratio_N.tolist(), **dials)
    np.testing.assert_allclose(actual.target_N, expected[0], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(actual.advantage_N, expected[1], rtol=1e-8, atol=1e-8)


@given(seed=st.integers(0, 1000), trace_decay=st.floats(0, 1))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_without_a_difference_between_policies_v_trace_is_gae(
    lab: Any, seed: int, trace_decay: float
) -> None:
    rows = rows_from_fragments([lab.fragment(lab.policy(), [9, 4, 11], seed=seed)], torch.device("cpu"))
    value_N, next_value_N = torch.randn(2, len(rows), generator=torch.Generator().manual_seed(seed))
    columns = (rows.reward_N, value_N, next_value_N, rows.terminated_N, rows.followed_N)
    advantage_N = gae(*columns, discount=0.9, trace_decay=trace_decay)
    actual = vtrace(*columns, torch.ones(len(rows)), discount=0.9, trace_decay=trace_decay, bounds=ONE)
    torch.testing.assert_close(actual.advantage_N, advantage_N)
    torch.testing.assert_close(actual.target_N, advantage_N + value_N)


def test_columns_of_different_lengths_are_refused() -> None:
    one, two = torch.zeros(1), torch.zeros(2)
    with pytest.raises(
        ValueError, match=r"vtrace got columns of shapes .*; give six of one shape \[\.\.\., N\]"
    ):
        vtrace(one, one, one, one.bool(), one.bool(), two, discount=0.9, trace_decay=0.9, bounds=ONE)
