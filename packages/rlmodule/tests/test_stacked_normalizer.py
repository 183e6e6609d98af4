"""Stacked statistics are those that each policy would have gathered alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from outrider.rlmodule import (
    ModuleSettings,
    Moments,
    PolicyRecipe,
    PolicyStack,
    RunningNormalizer,
    moments,
    stacked_moments,
)
from outrider.wire import BoxSpace, DiscreteSpace

BOX = BoxSpace(low=np.full(2, -1, np.float32), high=np.full(2, 1, np.float32))
NUM_POLICIES = 3


def stack(**chosen: Any) -> PolicyStack:
    recipe = PolicyRecipe(
        observation_space=BOX,
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(), **chosen),
        seed=0,
    )
    return PolicyStack(recipe, range(NUM_POLICIES))


def state(module: torch.nn.Module, place: int) -> dict[str, Tensor]:
    return {name: tensor[place] for name, tensor in module.state_dict().items()}


@given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=4), st.booleans())
@settings(max_examples=50, deadline=None)
def test_merges_equal_those_of_each_policy_alone(num_rows: list[list[int]], are_scalars: bool) -> None:
    shape = () if are_scalars else (2,)
    stacked = RunningNormalizer(shape, clip=10.0)
    for name, tensor in stacked.state_dict().items():
        setattr(stacked, name, torch.stack([tensor] * NUM_POLICIES))
    alone = [RunningNormalizer(shape, clip=10.0) for _ in range(NUM_POLICIES)]
    generator = torch.Generator().manual_seed(0)
    for counts in num_rows:
        rows = 100 * torch.randn(NUM_POLICIES, 5, *shape, generator=generator) + 1000
        is_row = torch.arange(5) < torch.tensor(counts)[:, None]
        stacked.merge(stacked_moments(rows, is_row))
        for place, normalizer in enumerate(alone):
            normalizer.merge(moments(rows[place, : counts[place]]))
    for place, normalizer in enumerate(alone):
        torch.testing.assert_close(
            state(stacked, place), dict(normalizer.state_dict()), rtol=1e-12, atol=1e-9
        )


def test_a_policy_without_rows_keeps_its_statistics_to_the_bit() -> None:
    made = stack(normalize_observations=True)
    normalizer = made.observation_normalizer(made.tensors)
    assert normalizer is not None
    rows = {"": torch.randn(NUM_POLICIES, 4, 2)}
    normalizer.merge(normalizer.measure_stacked(rows, torch.ones(NUM_POLICIES, 4, dtype=torch.bool)))
    before = made.policy_tensors(1)
    is_row = torch.tensor([True, False, True])[:, None].expand(-1, 4)
    normalizer.merge(normalizer.measure_stacked({"": torch.full((NUM_POLICIES, 4, 2), 9.0)}, is_row))
    torch.testing.assert_close(made.policy_tensors(1), before, rtol=0, atol=0)
    assert made.tensors["observation_normalizer.leaves.0.count"].tolist() == [8, 4, 8]


def test_rows_that_are_none_may_hold_anything() -> None:
    rows = torch.tensor([[1.0, 3.0, torch.nan], [torch.inf, torch.nan, torch.nan]])
    measured = stacked_moments(rows, torch.tensor([[True, True, False], [False] * 3]))
    expected = {"count": [2.0, 0.0], "mean": [2.0, 0.0], "m2": [2.0, 0.0]}
    assert {name: getattr(measured, name).tolist() for name in expected} == expected


def test_merging_writes_to_the_tensors_given_and_no_others() -> None:
    made = stack(normalize_observations=True, normalize_rewards=True)
    copies = {name: tensor[[2, 0]] for name, tensor in made.tensors.items()}
    observations, rewards = made.observation_normalizer(copies), made.reward_normalizer(copies)
    assert observations is not None
    assert rewards is not None
    is_row = torch.ones(2, 3, dtype=torch.bool)
    observations.merge(observations.measure_stacked({"": torch.randn(2, 3, 2)}, is_row))
    rewards.merge(stacked_moments(torch.randn(2, 3), is_row))
    counts = {name: tensor.tolist() for name, tensor in copies.items() if name.endswith("count")}
    assert counts == {
        "observation_normalizer.leaves.0.count": [3, 3],
        "reward_normalizer.count": [3, 3],
    }
    assert all((t == 0).all() for name, t in made.tensors.items() if name.endswith("count"))


def test_rewards_are_divided_by_each_policys_own_deviation() -> None:
    made = stack(normalize_rewards=True)
    normalizer = made.reward_normalizer(made.tensors)
    assert normalizer is not None
    two = torch.tensor(2.0, dtype=torch.float64)
    normalizer.merge(
        Moments(
            count=two * torch.tensor([1, 1, 0]), mean=two * torch.zeros(3), m2=two * torch.tensor([4, 25, 0])
        )
    )
    scaled = normalizer.scale_only(torch.full((NUM_POLICIES, 2), 10.0))
    torch.testing.assert_close(scaled, torch.tensor([[5.0, 5.0], [2.0, 2.0], [10.0, 10.0]]))


@pytest.mark.parametrize("part", ["observation_normalizer", "reward_normalizer"])
def test_there_is_no_normaliser_where_none_was_asked_for(part: str) -> None:
    made = stack()
    assert getattr(made, part)(made.tensors) is None
