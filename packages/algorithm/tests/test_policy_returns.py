from __future__ import annotations

import json
import math

import numpy as np
import pytest

from outrider.algorithm.policies.policy_book import BookedPolicy, PolicyBook
from outrider.algorithm.policies.policy_returns import NUM_EPISODES, PolicyReturns
from outrider.wire import AgentEpisodes


def book(*names: str) -> PolicyBook:
    policies = [
        BookedPolicy(name=name, number=number, stack="s", planned=0) for number, name in enumerate(names)
    ]
    return PolicyBook(policies, len(names))


def episodes(*played: tuple[int, float]) -> AgentEpisodes:
    policy, returns = zip(*played, strict=True)
    return AgentEpisodes(
        policy=np.array(policy, np.int32),
        agent=np.zeros(len(policy), np.int32),
        returns=np.array(returns, np.float32),
        lengths=np.arange(len(policy), dtype=np.int64),
        environment=np.zeros(len(policy), np.int32),
        episode=np.arange(len(policy), dtype=np.int64),
    )


def test_returns_are_averaged_by_policy() -> None:
    returns = PolicyReturns()
    returns.add([episodes((1, 10.0), (0, 2.0), (1, 20.0)), None, episodes((0, 4.0))])
    result = returns.results(book("a", "b"))
    assert result["policies/a/episode_return_mean"] == 3.0
    assert result["policies/b/episode_return_mean"] == 15.0
    assert result["policies/b/num_episodes"] == 2
    assert result["policies/b/episode_length_mean"] == 1.0


def test_only_the_last_episodes_count() -> None:
    returns = PolicyReturns()
    returns.add([episodes(*[(0, 1000.0)] * NUM_EPISODES, *[(0, 7.0)] * (NUM_EPISODES - 1), (0, 107.0))])
    assert returns.results(book("a"))["policies/a/episode_return_mean"] == 8.0
    returns.add([episodes((0, 7.0))])
    assert returns.results(book("a"))["policies/a/num_episodes"] == 2 * NUM_EPISODES + 1


def test_a_return_that_is_not_finite_counts_for_nothing() -> None:
    returns = PolicyReturns()
    returns.add([episodes((0, np.nan)), episodes((0, np.inf), (0, 1.0))])
    assert returns.results(book("a"))["policies/a/episode_return_mean"] == 1.0


def test_the_spread_is_over_all_policies_that_have_played() -> None:
    returns = PolicyReturns()
    returns.add([episodes(*[(number, float(number)) for number in range(1001)])])
    result = returns.results(book(*map(str, range(1002))))
    assert [result[f"policy_return_p{p}"] for p in (10, 50, 90)] == [100.0, 500.0, 900.0]
    assert result["num_policies"] == 1002


def test_a_line_of_a_thousand_policies_is_short() -> None:
    returns = PolicyReturns()
    returns.add([episodes(*[(number, 0.1) for number in range(1000)])])
    result = returns.results(book(*[f"policy_{number}" for number in range(1000)]))
    assert len(json.dumps(result)) < 10_000
    assert "policies/policy_31/episode_return_mean" in result
    assert "policies/policy_32/episode_return_mean" not in result


def test_before_an_episode_ended_returns_are_nan_under_the_names_that_they_will_have() -> None:
    returns, policies = PolicyReturns(), book("a", "b")
    before = returns.results(policies)
    assert (before["num_policies"], before["policies/a/num_episodes"]) == (2, 0)
    assert all(math.isnan(value) for name, value in before.items() if "num_" not in name)
    returns.add([episodes((0, 1.0))])
    after = returns.results(policies)
    assert before.keys() == after.keys()
    assert math.isnan(after["policies/b/episode_return_mean"])
    assert after["policies/a/episode_return_mean"] == after["policy_return_p10"] == 1.0


def test_a_removed_policy_is_not_among_them_and_its_successor_starts_at_nothing() -> None:
    returns, policies = PolicyReturns(), book("a", "b")
    returns.add([episodes((0, 1.0), (1, 9.0))])
    policies.remove("b")
    policies.add("b", stack="s", planned=0, own={})
    result = returns.results(policies)
    assert result["policy_return_p90"] == 1.0
    assert result["policies/b/num_episodes"] == 0
    assert math.isnan(result["policies/b/episode_return_mean"])


def test_counting_goes_on_from_a_checkpoint() -> None:
    before, after = PolicyReturns(), PolicyReturns()
    before.add([episodes((0, 1.0), (1, 9.0))])
    after.set_state(before.get_state())
    for returns in (before, after):
        returns.add([episodes((1, 3.0))])
    assert after.results(book("a", "b")) == before.results(book("a", "b"))


def test_a_policy_that_there_is_not_is_named_with_those_near() -> None:
    with pytest.raises(ValueError, match="there is no policy 'rad'; did you mean red"):
        book("red", "blue")["rad"]
    with pytest.raises(ValueError, match="no policy 'x'; there are 100, such as 0, 1, 2, 3, 4, 5, 6, 7"):
        book(*map(str, range(100)))["x"]
