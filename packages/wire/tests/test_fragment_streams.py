"""Taking some streams of a fragment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.testing.messages import example_fragment, random_fragment, same_message
from outrider.wire import Columns, Fragment, check_fragment, take_streams


def _join(a: Fragment, b: Fragment) -> Fragment:
    """Put two fragments one after the other: a slow and literal inverse of `take_streams`."""

    def joined(first: Columns, second: Columns) -> Columns:
        return {path: np.concatenate([first[path], second[path]]) for path in first}

    streams = {name: getattr(a.streams, name) for name in ("lengths", "policy", "environment", "agent")}
    rows = ("rewards", "terminated", "truncated", "action_log_probs")
    return replace(
        a,
        streams=replace(
            a.streams,
            **{name: np.concatenate([first, getattr(b.streams, name)]) for name, first in streams.items()},
            state=joined(a.streams.state, b.streams.state),
        ),
        **{name: np.concatenate([getattr(a, name), getattr(b, name)]) for name in rows},
        observations=joined(a.observations, b.observations),
        actions=joined(a.actions, b.actions),
        next_observations=joined(a.next_observations, b.next_observations),
        next_rows=np.concatenate([a.next_rows, b.next_rows + a.num_rows]),
        action_parameters=None
        if a.action_parameters is None or b.action_parameters is None
        else np.concatenate([a.action_parameters, b.action_parameters]),
        policy_version=a.policy_version
        if len(a.policy_version) == 1 != a.num_rows
        else np.concatenate([a.policy_version, b.policy_version]),
    )


@given(data=st.data(), seed=st.integers(0, 2**32 - 1), num_streams=st.integers(2, 6))
def test_two_parts_joined_give_the_whole(data: st.DataObject, seed: int, num_streams: int) -> None:
    fragment = random_fragment(seed, num_streams=num_streams)
    cut = data.draw(st.integers(1, num_streams - 1))
    parts = take_streams(fragment, 0, cut), take_streams(fragment, cut, num_streams)
    for part in parts:
        check_fragment(part)
    whole = _join(*parts)
    if len(fragment.policy_version) == 1:
        whole = replace(whole, policy_version=fragment.policy_version)
    assert same_message(whole, fragment)


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_a_part_of_a_part_is_a_part(data: st.DataObject, seed: int) -> None:
    fragment = random_fragment(seed, num_streams=5)
    first = data.draw(st.integers(0, 3))
    assert same_message(
        take_streams(take_streams(fragment, first, 5), 1, 5 - first), take_streams(fragment, first + 1, 5)
    )


def test_all_streams_are_the_whole() -> None:
    assert same_message(take_streams(example_fragment(), 0, 2), example_fragment())


def test_the_second_stream_of_the_example_is_what_was_drawn() -> None:
    part = take_streams(example_fragment(), 1, 2)
    assert part.rewards.tolist() == [5, 6, 7]
    assert part.next_rows.tolist() == [1, 2]  # rows 5 and 6 of the whole
    assert part.next_observations["/speed"].tolist() == [12.5, 13.0]
    assert part.streams.environment.tolist() == [1]
    assert part.streams.state["h"].tolist() == [[1.0, 1.5]]
    assert part.policy_version.tolist() == [12]


def test_the_arrays_of_a_part_are_views() -> None:
    fragment = example_fragment()
    part = take_streams(fragment, 1, 2)
    for mine, whole in [
        (part.rewards, fragment.rewards),
        (part.observations["/camera"], fragment.observations["/camera"]),
        (part.next_observations["/camera"], fragment.next_observations["/camera"]),
        (part.streams.state["h"], fragment.streams.state["h"]),
        (part.action_log_probs, fragment.action_log_probs),
    ]:
        assert np.shares_memory(mine, whole)


@pytest.mark.parametrize(("first", "stop"), [(0, 0), (1, 1), (-1, 1), (0, 3), (2, 1)])
def test_streams_that_are_not_there_are_refused(first: int, stop: int) -> None:
    with pytest.raises(ValueError, match=f"streams {first} to {stop} of a fragment that has 2"):
        take_streams(example_fragment(), first, stop)
