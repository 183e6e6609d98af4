"""Streams of some policies, taken out of a fragment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.testing.messages import example_fragment, random_fragment, same_message
from outrider.testing.multi_agent_messages import example_team, random_team
from outrider.wire import Fragment, check_fragment, take_policies, take_streams

TEAM = replace(example_team(), others=())


def _of_three_policies(seed: int) -> Fragment:
    """Return a fragment whose streams 0 to 5 are of the policies 7, 7, 3, 3, 3, 5."""
    fragment = replace(random_team(seed, num_streams=6, num_others=0))
    policy = np.array([7, 7, 3, 3, 3, 5], np.int32)
    return replace(fragment, streams=replace(fragment.streams, policy=policy))


@given(seed=st.integers(0, 2**32 - 1))
def test_neighbouring_policies_are_the_streams_from_first_to_last(seed: int) -> None:
    fragment = _of_three_policies(seed)
    assert same_message(take_policies(fragment, [3, 7]), take_streams(fragment, 0, 5))
    assert same_message(take_policies(fragment, [5]), take_streams(fragment, 5, 6))


@given(seed=st.integers(0, 2**32 - 1))
def test_policies_that_lie_apart_are_their_streams_one_after_the_other(seed: int) -> None:
    fragment = _of_three_policies(seed)
    taken = take_policies(fragment, [5, 7])
    check_fragment(taken)
    assert same_message(take_streams(taken, 0, 2), take_streams(fragment, 0, 2))
    assert same_message(take_streams(taken, 2, 3), take_streams(fragment, 5, 6))
    assert len(taken.streams.lengths) == 3


def test_the_second_policy_of_the_example_is_its_second_stream() -> None:
    taken = take_policies(TEAM, [4])
    assert taken.rewards.tolist() == [5, 6, 7]
    assert taken.next_rows.tolist() == [1, 2]  # rows 5 and 6 of the whole
    assert taken.critic_rows is not None
    assert taken.critic_rows.tolist() == [5, 6, 7]


def test_what_lies_together_is_taken_as_views() -> None:
    taken = take_policies(TEAM, np.array([4, 0]))
    assert same_message(taken, TEAM)
    for mine, whole in [(taken.rewards, TEAM.rewards), (taken.critic_states[""], TEAM.critic_states[""])]:
        assert np.shares_memory(mine, whole)


@given(seed=st.integers(0, 2**32 - 1))
def test_policies_that_did_not_act_have_no_rows(seed: int) -> None:
    for numbers in ([], [9], np.array([1000])):
        taken = take_policies(_of_three_policies(seed), numbers)
        check_fragment(taken)
        assert (taken.num_rows, len(taken.streams.lengths), len(taken.next_rows)) == (0, 0, 0)


@given(seed=st.integers(0, 2**32 - 1), num_streams=st.integers(0, 5))
def test_all_policies_are_the_whole(seed: int, num_streams: int) -> None:
    fragment = random_fragment(seed, num_streams=num_streams)
    assert same_message(take_policies(fragment, [0, 1]), fragment)


def test_a_fragment_of_several_architectures_is_taken_apart_first() -> None:
    sentence = "streams of a fragment of 2 architectures; take them of each of `all_parts"
    with pytest.raises(ValueError, match=sentence):
        take_policies(example_team(), [0])
    with pytest.raises(ValueError, match=sentence):
        take_streams(example_team(), 0, 1)


def test_policies_of_another_architecture_are_taken_of_that_part() -> None:
    (other,) = example_team().others
    assert same_message(take_policies(other, [2]), other)
    assert take_policies(example_fragment(), [2]).num_rows == 0
