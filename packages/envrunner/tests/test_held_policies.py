"""A runner holds the weights of all policies that play, and of no more than it may."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.envrunner import EnvRunnerSettings
from outrider.envrunner.policies.held_policies import HeldPolicies, most_policies

AT_MOST = 5


def numbers(*policies: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(policies, np.int32)


def lists(pair: tuple[np.ndarray, np.ndarray]) -> tuple[list[int], list[int]]:
    return pair[0].tolist(), pair[1].tolist()


players = st.lists(st.integers(0, 12), min_size=1, max_size=AT_MOST)
kinds = st.sampled_from(["play", "admit", "keep_only", "lose"])
events = st.lists(st.tuples(kinds, players, players), max_size=40)


@given(events)
def test_who_plays_is_held_and_never_more_than_may_be_and_told_are_all_that_come_and_go(
    happened: list[tuple[str, list[int], list[int]]],
) -> None:
    held, known = HeldPolicies(AT_MOST), set[int]()
    for what, who, soon in happened:
        policies = numbers(*who)
        if what == "play":
            missing = set(who) - known
            wanted, dropped = held.play(policies, lambda soon=soon: numbers(*soon))
            assert missing <= set(wanted.tolist()) <= (missing | set(soon) if missing else set())
            assert not known & set(wanted.tolist())
            assert not set(who) & set(dropped.tolist())
            known = (known | set(wanted.tolist())) - set(dropped.tolist())
            assert set(who) <= known
        elif what == "lose":
            held.lose(numbers(*known & set(who)))
            known -= set(who)
        elif what == "admit":
            kept = held.admit(np.unique(policies))
            known |= set(np.unique(policies)[kept].tolist())
        else:
            known -= set(held.keep_only(policies).tolist())
            assert known <= set(who)
        assert held.numbers.tolist() == sorted(known)
        assert len(known) <= AT_MOST


def test_those_that_played_longest_ago_are_dropped() -> None:
    held = HeldPolicies(3)
    assert lists(held.play(numbers(4, 2))) == ([2, 4], [])
    assert lists(held.play(numbers(4, 7))) == ([7], [])
    assert lists(held.play(numbers(7, 9))) == ([9], [2])
    assert lists(held.play(numbers(2, 2))) == ([2], [4])
    assert lists(held.play(numbers(9, 7))) == ([], [])


def test_who_plays_next_comes_with_who_is_missing_as_far_as_there_is_room() -> None:
    held = HeldPolicies(4)
    assert lists(held.play(numbers(1, 2), lambda: numbers(1, 5, 6, 7))) == ([1, 2, 5, 6], [])
    assert lists(held.play(numbers(5, 6), lambda: numbers(8))) == ([], [])  # nobody is missing
    assert lists(held.play(numbers(5, 9), lambda: numbers(2, 3))) == ([3, 9], [1, 6])  # 2 is kept for it
    assert held.numbers.tolist() == [2, 3, 5, 9]


def test_what_comes_unasked_is_held_while_there_is_room_for_all() -> None:
    assert HeldPolicies(3).admit(numbers(1, 5, 6)).tolist() == [True, True, True]
    assert HeldPolicies(3).admit(numbers(1, 5, 6, 7)).tolist() == [False] * 4


def test_who_was_dropped_is_held_again_only_when_it_plays() -> None:
    held = HeldPolicies(2)
    for player in (1, 2, 3):
        held.play(numbers(player))
    held.keep_only(numbers(3))  # there is room now, but the sender did not know of 1 and 2
    assert held.admit(numbers(1, 3)).tolist() == [False, True]


@pytest.mark.parametrize(("given_", "expected"), [(None, 64), (6, 6), (1000, 1000)])
def test_a_runner_of_few_environments_holds_64_unless_told_otherwise(
    given_: int | None, expected: int
) -> None:
    settings = EnvRunnerSettings(num_envs_per_env_runner=3, max_policies_per_env_runner=given_)
    assert most_policies(settings, 2) == expected


def test_one_of_many_holds_twice_as_many_as_play() -> None:
    assert most_policies(EnvRunnerSettings(num_envs_per_env_runner=100), 5) == 1000


def test_fewer_than_play_at_a_time_are_refused() -> None:
    settings = EnvRunnerSettings(num_envs_per_env_runner=3, max_policies_per_env_runner=5)
    with pytest.raises(ValueError, match=r"is 5, .* 3 .* copies of 2 agents may play 6 .*; raise it to 6"):
        most_policies(settings, 2)


def test_no_policy_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="max_policies_per_env_runner is 0"):
        EnvRunnerSettings(max_policies_per_env_runner=0)
