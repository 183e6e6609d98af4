"""Fragments that break the rules are refused in a sentence; others become rows."""

import re
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner.rows.fragment_rows import rows_from_fragments
from outrider.learner.rows.loading import tensors_of
from outrider.rlmodule import CRITIC_PATH
from outrider.testing.multi_agent_messages import example_team

CPU = torch.device("cpu")


def test_rows_of_several_fragments_stand_behind_each_other(lab: Any) -> None:
    policy = lab.policy()
    fragments = [lab.fragment(policy, [4, 3]), lab.fragment(policy, [5], seed=1, first_environment=2)]
    rows = rows_from_fragments(fragments, CPU)
    assert len(rows) == 12
    assert rows.length_S.tolist() == [4, 3, 5]
    assert rows.next_row_M.tolist() == [*fragments[0].next_rows, *(7 + fragments[1].next_rows)]
    assert rows.stream_key_S.tolist() == [[0, 0, 0], [0, 1, 0], [0, 2, 0]]


def test_a_row_is_followed_unless_its_episode_or_stream_ends(lab: Any) -> None:
    fragment = lab.fragment(lab.policy(), [4, 2], end_probability=0.0)
    terminated = np.array([False, True, False, False, False, False])
    rows = rows_from_fragments([replace(fragment, terminated=terminated)], CPU)
    assert rows.followed_N.tolist() == [True, False, True, False, True, False]


def test_a_row_whose_next_observation_is_recorded_is_not_followed_by_the_next_row(lab: Any) -> None:
    fragment = lab.fragment(lab.policy(), [4], end_probability=0.0)
    observations = {"": np.zeros((2, 3), np.float32)}
    broken = replace(fragment, next_rows=np.array([1, 3]), next_observations=observations)
    rows = rows_from_fragments([broken], CPU)
    assert rows.followed_N.tolist() == [True, False, True, False]


@pytest.mark.parametrize("column", ["observations", "next_observations", "rewards"])
def test_a_number_that_is_not_finite_is_named_with_its_column(lab: Any, column: str) -> None:
    fragment = lab.fragment(lab.policy(), [4, 4], end_probability=0.0)
    values = getattr(fragment, column)
    array = values if column == "rewards" else values[""]
    array[-1] = np.nan
    bad = rows_from_fragments([fragment], CPU).first_bad
    assert re.match(rf"column {column} holds nan in 1 of .* first in environment 1: mend", bad or "")


def with_critic(fragment: Any, states: Any) -> Any:
    """Let rows i see state i // 2, and next observations the last state."""
    rows = np.arange(fragment.num_rows) // 2
    last = np.full(len(fragment.next_rows), len(states) - 1)
    return replace(fragment, critic_states={"": states}, critic_rows=rows, next_critic_rows=last)


def test_each_row_gets_its_critic_state_as_a_leaf_of_its_own(lab: Any) -> None:
    states = np.arange(8, dtype=np.float32).reshape(4, 2)
    fragments = [with_critic(lab.fragment(lab.policy(), [4, 2], seed=seed), states) for seed in range(2)]
    rows = rows_from_fragments(fragments, CPU)
    assert rows.observations.keys() == rows.next_observations.keys() == {"", CRITIC_PATH}
    assert rows.observations[CRITIC_PATH][:, 0].tolist() == [0, 0, 2, 2, 4, 4] * 2
    assert (rows.next_observations[CRITIC_PATH] == torch.tensor([6.0, 7.0])).all()
    assert len(rows.next_observations[CRITIC_PATH]) == len(rows.next_row_M)


@pytest.mark.parametrize(("state", "num_bad"), [(2, 2), (3, 2)])
def test_a_critic_state_that_is_not_finite_is_named(lab: Any, state: int, num_bad: int) -> None:
    states = np.zeros((4, 2), np.float32)
    states[state, 1] = np.inf
    fragment = lab.fragment(lab.policy(), [4, 2], end_probability=0.0)
    bad = rows_from_fragments([with_critic(fragment, states)], CPU).first_bad
    where = "first in environment 1" if state == 2 else "first in environment 0"
    assert re.match(rf"column critic_states holds inf in {num_bad} of 8 rows, {where}: mend", bad or "")


def test_a_critic_state_that_no_row_needs_may_be_anything(lab: Any) -> None:
    states = np.zeros((5, 2), np.float32)
    fragment = with_critic(lab.fragment(lab.policy(), [4, 2]), states)
    states[3] = np.nan
    assert rows_from_fragments([fragment], CPU).first_bad is None


def test_a_missing_next_observation_is_refused(lab: Any) -> None:
    fragment = lab.fragment(lab.policy(), [4], end_probability=0.0)
    with pytest.raises(ValueError, match="row 3 was truncated or ends its stream, and next_observations has"):
        rows_from_fragments([replace(fragment, next_rows=fragment.next_rows[:0])], CPU)


def test_lengths_that_do_not_add_up_are_refused(lab: Any) -> None:
    fragment = lab.fragment(lab.policy(), [4])
    streams = replace(fragment.streams, lengths=np.array([5]))
    with pytest.raises(ValueError, match="streams have 5 rows by their lengths and 4 by their columns"):
        rows_from_fragments([replace(fragment, streams=streams)], CPU)


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="an update got no rows"):
        rows_from_fragments([], CPU)


def test_rows_of_other_architectures_are_not_dropped_but_refused() -> None:
    with pytest.raises(ValueError, match="policies of other architectures, and this learner trains one"):
        rows_from_fragments([example_team()], CPU)


def test_every_tensor_waits_for_its_copy(lab: Any) -> None:
    fragment = lab.fragment(lab.policy(use_lstm=True), [4])
    fragment = replace(fragment, action_parameters=np.zeros((4, 2), np.float32))
    rows = rows_from_fragments([fragment], CPU)
    values = [getattr(rows, field.name) for field in fields(rows)]
    leaves = [leaf for value in values if isinstance(value, dict) for leaf in value.values()]
    expected = {id(value) for value in [*values, *leaves] if isinstance(value, torch.Tensor)}
    assert {id(tensor) for tensor in tensors_of(rows)} == expected
