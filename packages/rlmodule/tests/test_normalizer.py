"""Running normalisation equals what NumPy computes on all rows together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from outrider.rlmodule import (
    ModuleSettings,
    ObservationNormalizer,
    RunningNormalizer,
    build_policy,
    merge_moments,
    moments,
)
from outrider.wire import BoxSpace, DictSpace, DiscreteSpace, MultiBinarySpace

numbers = st.floats(-1e6, 1e6, width=32)
batches = st.lists(
    st.integers(0, 6).flatmap(lambda n: hnp.arrays(np.float32, (n, 3), elements=numbers)),
    min_size=1,
    max_size=5,
)


@given(batches)
@settings(max_examples=100, deadline=None)
def test_merged_moments_are_those_of_all_rows(parts: list[np.ndarray[Any, Any]]) -> None:
    rows = np.concatenate(parts).astype(np.float64)
    normalizer = RunningNormalizer((3,), clip=10.0)
    for part in parts:
        normalizer.merge(moments(torch.from_numpy(part)))
    assert normalizer.count.item() == len(rows)
    if len(rows):
        scale = np.abs(rows).max() + 1
        np.testing.assert_allclose(normalizer.mean, rows.mean(0), atol=1e-12 * scale)
        np.testing.assert_allclose(normalizer.m2 / len(rows), rows.var(0), atol=1e-9 * scale**2)


@given(batches)
@settings(max_examples=30, deadline=None)
def test_the_order_of_merging_does_not_matter(parts: list[np.ndarray[Any, Any]]) -> None:
    measured = [moments(torch.from_numpy(part)) for part in parts]
    forth, back = measured[0], measured[-1]
    for batch in measured[1:]:
        forth = merge_moments(forth, batch)
    for batch in measured[-2::-1]:
        back = merge_moments(back, batch)
    torch.testing.assert_close(forth.mean, back.mean, atol=1e-5, rtol=1e-9)
    torch.testing.assert_close(forth.m2, back.m2, atol=1e-2, rtol=1e-9)


def test_normalised_rows_have_mean_zero_and_deviation_one() -> None:
    rows = torch.tensor([[1.0, -2.0], [3.0, 2.0]])
    normalizer = RunningNormalizer((2,), clip=10.0)
    normalizer.merge(moments(rows))
    torch.testing.assert_close(normalizer(rows), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))


def test_a_large_offset_does_not_hide_a_small_deviation() -> None:
    rows = torch.tensor([[1e8], [1e8 + 2]], dtype=torch.float64)
    normalizer = RunningNormalizer((1,), clip=10.0)
    normalizer.merge(moments(rows))
    assert (normalizer.m2 / normalizer.count).item() == pytest.approx(1.0)


def test_nothing_merged_leaves_numbers_as_they_are_within_the_clip() -> None:
    normalizer = RunningNormalizer((2,), clip=5.0)
    normalizer.merge(moments(torch.zeros(0, 2)))
    torch.testing.assert_close(normalizer(torch.tensor([[1.5, -7.0]])), torch.tensor([[1.5, -5.0]]))


def test_rewards_are_divided_and_not_shifted() -> None:
    normalizer = RunningNormalizer((), clip=10.0)
    normalizer.merge(moments(torch.tensor([10.0, 14.0])))
    torch.testing.assert_close(normalizer.scale_only(torch.tensor([4.0, 400.0])), torch.tensor([2.0, 10.0]))


def test_only_boxes_of_floats_are_normalised() -> None:
    space = DictSpace(
        spaces={
            "x": BoxSpace(low=np.zeros(2, np.float32), high=np.ones(2, np.float32)),
            "pixels": BoxSpace(low=np.zeros((8, 8, 3), np.uint8), high=np.full((8, 8, 3), 255, np.uint8)),
            "mode": DiscreteSpace(num_values=2),
            "action_mask": BoxSpace(low=np.zeros(2, np.float32), high=np.ones(2, np.float32)),
            "flags": MultiBinarySpace(shape=(2,)),
        }
    )
    policy = build_policy(
        space, DiscreteSpace(num_values=2), ModuleSettings(normalize_observations=True), seed=0
    )
    assert isinstance(policy.observation_normalizer, ObservationNormalizer)
    assert policy.observation_normalizer.paths == ("/x",)


def test_a_setting_that_finds_nothing_to_normalise_warns() -> None:
    chosen = ModuleSettings(normalize_observations=True)
    with pytest.warns(UserWarning, match="normalize_observations=True is ignored"):
        policy = build_policy(DiscreteSpace(num_values=2), DiscreteSpace(num_values=2), chosen, seed=0)
    assert policy.observation_normalizer is None


def test_statistics_travel_with_the_weights() -> None:
    space = BoxSpace(low=np.zeros(2, np.float32), high=np.ones(2, np.float32))
    chosen = ModuleSettings(normalize_observations=True, normalize_rewards=True)
    here, there = (build_policy(space, DiscreteSpace(num_values=2), chosen, seed=seed) for seed in (0, 1))
    rows = {"": torch.tensor([[1.0, 5.0], [2.0, 9.0]])}
    assert here.observation_normalizer is not None
    assert here.reward_normalizer is not None
    here.observation_normalizer.merge(here.observation_normalizer.measure(rows))
    here.reward_normalizer.merge(moments(torch.tensor([1.0, 9.0])))
    there.load_weights(here.weights(0))
    for name, tensor in here.state_dict().items():
        torch.testing.assert_close(there.state_dict()[name], tensor, rtol=0, atol=0)
    torch.testing.assert_close(here(rows), there(rows), rtol=0, atol=0)
