from __future__ import annotations

import math
from typing import Any

from outrider.algorithm.policies.policy_words import (
    policies_words,
    policy_lines,
    spread_words,
    sum_of_agents,
    sum_word,
)


def result(number: int, *, named: int) -> dict[str, Any]:
    of_policies = {f"policies/policy_{i}/episode_return_mean": float(i) for i in range(named)}
    counts = {f"policies/policy_{i}/num_episodes": 5 for i in range(named)}
    spread = {f"policy_return_p{p}": float(p) for p in (10, 50, 90)}
    return {"num_policies": number, **spread, **of_policies, **counts}


def test_few_policies_are_named() -> None:
    assert policies_words(result(2, named=2)) == "policy_0: 0  policy_1: 1"


def test_of_many_policies_the_spread_is_told_in_one_line() -> None:
    words = policies_words(result(1000, named=32))
    assert words == "1,000: a tenth below 10.0, half below 50.0, nine tenths below 90.0"


def test_the_spread_is_from_a_tenth_to_nine_tenths() -> None:
    assert spread_words(result(1000, named=32)) == "80 % of policies 10.0 to 90.0"


def test_a_line_names_few_policies_and_says_that_returns_are_sums() -> None:
    assert spread_words(result(2, named=2)) == "policies policy_0: 0  policy_1: 1"
    assert (sum_word(result(2, named=2)), sum_word({})) == (" in sum", "")
    assert (sum_of_agents(result(2, named=2)), sum_of_agents({})) == (" (sum over agents)", "")


def test_nothing_is_said_of_one_policy_or_before_an_episode_ended() -> None:
    assert spread_words({}) == policies_words({}) == ""
    none = result(2, named=2) | {f"policy_return_p{p}": math.nan for p in (10, 50, 90)}
    assert spread_words(none) == policies_words(none) == ""


def test_a_policy_that_has_ended_no_episode_has_a_dash() -> None:
    waiting = {"policies/policy_1/episode_return_mean": math.nan, "policies/policy_1/num_episodes": 0}
    some = result(2, named=2) | waiting
    assert policies_words(some) == "policy_0: 0  policy_1: -"
    assert list(policy_lines(some))[1] == "policy    policy_1  played in no episode\n"


def test_an_evaluation_has_a_line_for_each_policy() -> None:
    lines = list(
        policy_lines(
            result(2, named=2)
            | {
                "policies/a_very_long_name_indeed/episode_return_mean": 1.0,
                "policies/a_very_long_name_indeed/num_episodes": 2,
            }
        )
    )
    assert lines[0] == "policy    policy_0          return 0 over 5 episodes\n"
    assert lines[2] == "policy    a_very_long_n...  return 1 over 2 episodes\n"


def test_one_episode_is_one() -> None:
    once = {"policies/a/episode_return_mean": 1.0, "policies/a/num_episodes": 1}
    assert list(policy_lines(once)) == ["policy    a  return 1 over 1 episode\n"]


def test_an_evaluation_of_many_policies_ends_with_how_all_of_them_do() -> None:
    lines = list(policy_lines(result(1000, named=32)))
    assert len(lines) == 33
    assert lines[-1] == "policies  1,000: a tenth below 10.0, half below 50.0, nine tenths below 90.0\n"
