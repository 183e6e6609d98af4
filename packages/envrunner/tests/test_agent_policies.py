"""Who was looked up to play next plays, unless somebody else is said to in the meantime."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from outrider.envrunner.agents.multi_agent_vector import AgentGroup
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.policies.agent_policies import AgentPolicies
from outrider.envrunner.policies.matchups import MatchupMapping, Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.policy_fit import PolicyFit, StackSpaces
from outrider.wire import action_heads

AGENTS = ("red", "blue")
NUMBERS = {"main": 0, "old": 1, "new": 2}
SEEN, DONE = gym.spaces.Box(-1, 1, (2,), np.float32), gym.spaces.Discrete(3)
BOTH = np.arange(2)


def mapping(*blues: str) -> MatchupMapping:
    """Let main play red and one of these blue."""
    matchups = Matchups([(1.0, {"red": "main", "blue": blue}) for blue in blues])
    return MatchupMapping(matchups, AGENTS, NUMBERS)


def policies(asked: MatchupMapping) -> AgentPolicies:
    """Make those of two copies, whose first episodes begin."""
    group = AgentGroup(slots=np.arange(2), observation_space=SEEN, action_space=DONE)
    stack = StackSpaces("s", space_from_gymnasium(SEEN), action_heads(space_from_gymnasium(DONE)))
    entries = [PolicyEntry(name=name, number=number, stack="s") for name, number in NUMBERS.items()]
    made = AgentPolicies(asked, 2, len(AGENTS), seed=4, first_environment=0)
    made.allow(PolicyFit(AGENTS, [group], [stack], entries))
    made.begin_episodes(BOTH, 0)
    return made


def test_who_is_looked_up_plays_next() -> None:
    made = policies(mapping("old", "new"))
    seen = set()
    for _ in range(20):
        expected = made.next_policies(0)
        made.begin_episodes(BOTH, 0)
        np.testing.assert_array_equal(made.policy_S, expected)
        seen |= set(expected.tolist())
    assert seen == {0, 1, 2}


def test_other_matchups_hold_also_for_episodes_that_were_looked_up() -> None:
    made = policies(mapping("old"))
    assert made.next_policies(0).tolist() == [0, 1, 0, 1]
    made.ask(mapping("new"))
    assert made.next_policies(0).tolist() == [0, 2, 0, 2]
    made.ask(mapping("old"))
    made.begin_episodes(BOTH, 0)
    assert made.policy_S.tolist() == [0, 1, 0, 1]


def test_where_all_episodes_are_alike_they_are_counted_until_others_are_asked_for() -> None:
    made = policies(mapping("old"))
    for _ in range(3):
        assert not len(made.begin_episodes(np.array([1]), 0))
    assert made.num_episodes_E.tolist() == [1, 4]
    made.ask(mapping("new"))
    assert made.begin_episodes(np.array([1]), 0).tolist() == [3]
    assert made.begin_episodes(np.array([0]), 0).tolist() == [1]
    assert made.policy_S.tolist() == [0, 2, 0, 2]
    made.resume(np.array([0, 1, 0, 2], np.int32))
    assert made.begin_episodes(BOTH, 0).tolist() == [1]
