"""The rules of a fragment, each broken once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.testing.messages import example_fragment, random_fragment
from outrider.wire import EpisodeStatistics, SamplingStatistics, check_fragment

FRAGMENT = example_fragment()
CAMERA = FRAGMENT.observations["/camera"]


def test_the_drawn_example_keeps_every_rule() -> None:
    check_fragment(FRAGMENT)


@given(seed=st.integers(0, 2**32 - 1))
def test_random_fragments_keep_every_rule(seed: int) -> None:
    check_fragment(random_fragment(seed))


def test_a_row_that_terminated_and_was_truncated_has_nothing_after_it() -> None:
    both = FRAGMENT.truncated | FRAGMENT.terminated
    check_fragment(replace(FRAGMENT, truncated=both))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rewards": np.zeros(6, np.float32)}, "6"),
        ({"rewards": np.zeros((7, 1), np.float32)}, r"rewards has shape \(7, 1\); it has one axis"),
        ({"rewards": np.zeros(7)}, "rewards is float64; it is float32"),
        ({"terminated": np.zeros(7, np.uint8)}, "terminated is uint8; it is bool"),
        ({"truncated": np.zeros(7, np.bool_)}, "row 5 is wrongly there or missing"),
        ({"next_rows": np.array([3, 6, 5])}, "they are not in order"),
        ({"next_rows": np.array([3, 5, 5, 6])}, "4 rows where 3 are due"),
        ({"next_rows": np.array([1, 3, 5, 6])}, "row 1 is wrongly there"),
        ({"next_rows": np.array([3, 5, 7])}, "row 6 is wrongly there or missing"),
        ({"next_observations": {}}, "differ from observations"),
        ({"next_observations": FRAGMENT.observations}, "first axis is 3"),
        ({"observations": {"/camera": CAMERA[:6]}}, "first axis is 7"),
        ({"actions": {"": np.array(1)}}, "first axis is 7"),
        ({"action_log_probs": np.zeros(3, np.float32)}, "action_log_probs has shape"),
        ({"action_parameters": np.zeros(7, np.float32)}, "it is .N, k."),
        ({"action_parameters": np.zeros((3, 7), np.float32)}, "action_parameters has shape"),
        ({"policy_version": np.zeros(2, np.int64)}, r"it is \[1\] or \[7\]"),
        ({"policy_version": np.array([-1])}, "count from 0"),
        ({"policy_version": np.zeros(1, np.int32)}, "policy_version is int32"),
        ({"episodes": EpisodeStatistics(returns=np.zeros(1, np.float32), lengths=np.array([0]))}, "0 steps"),
        ({"episodes": EpisodeStatistics(returns=np.zeros(1), lengths=np.array([1]))}, "float64 returns"),
        ({"statistics": SamplingStatistics(policy_s=-1.0)}, "at least 0"),
        ({"statistics": SamplingStatistics(num_restarts=-1)}, "at least 0"),
    ],
)
def test_a_broken_rule_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_fragment(replace(FRAGMENT, **changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"lengths": np.array([4, 4])}, "sum to 8 and there are 7"),
        ({"lengths": np.array([7, 0])}, "at least 1 row"),
        ({"lengths": np.array([8, -1])}, "-1 to 8 rows"),
        ({"lengths": np.array([[4, 3]])}, "one axis"),
        ({"policy": np.zeros(3, np.int32)}, "streams.policy has shape"),
        ({"agent": np.zeros(2, np.int64)}, "streams.agent is int64"),
        ({"environment": np.array([0, -1], np.int32)}, "streams.environment has -1"),
        ({"state": {"h": np.zeros((7, 2), np.float32)}}, "first axis is 2"),
    ],
)
def test_a_broken_rule_of_the_streams_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_fragment(replace(FRAGMENT, streams=replace(FRAGMENT.streams, **changes)))


def test_streams_of_one_policy_lie_together() -> None:
    fragment = random_fragment(0, num_streams=3)
    apart = replace(fragment, streams=replace(fragment.streams, policy=np.array([1, 0, 1], np.int32)))
    with pytest.raises(ValueError, match="comes back to an earlier policy"):
        check_fragment(apart)
