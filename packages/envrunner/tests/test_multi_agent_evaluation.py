"""Over a scripted vector: an episode of seed s lasts s % 5 + 1 steps, in each of which agent a gets a + 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import AgentGroup, LastObservations, MultiAgentStep
from outrider.envrunner.environments.restarts import EnvironmentsFailedError
from outrider.envrunner.environments.sync_vector import OnFailure
from outrider.envrunner.policies.function_mapping import FunctionMapping
from outrider.envrunner.policies.matchups import MatchupMapping, Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.policy_mapping import Episode
from outrider.envrunner.sampling import multi_agent_evaluation
from outrider.envrunner.sampling.multi_agent_evaluation import evaluate_agents
from outrider.testing.agents_by_lot import (
    AGENTS,
    ENTRIES,
    GROUPS,
    NUMBERS,
    Echo,
    Lottery,
    draw_a_policy,
)
from outrider.wire import ActionHead, BoxSpace, Columns, EpisodeStatistics, Space, TensorSpec, Weights

SPACE = gym.spaces.Box(-1, 1, (1,), np.float32)
POLICIES = [PolicyEntry(name="zero", number=0, stack="s"), PolicyEntry(name="two", number=2, stack="s")]


class Scripted:
    """Two agents alike; agent 1 ends a step before agent 0 where the episode has more than one step."""

    agents = ("a", "b")
    state_space = None

    def __init__(
        self,
        num_envs: int,
        on_failure: OnFailure,
        *,
        fails_at: int | None = None,
        fails_again: bool = False,
    ) -> None:
        self.num_envs = num_envs
        self.groups = [
            AgentGroup(slots=np.arange(2), observation_space=SPACE, action_space=gym.spaces.Discrete(2))
        ]
        self.actions: list[NDArray[Any]] = []
        self.is_closed = False
        self._on_failure, self._fails_at, self._fails_again = on_failure, fails_at, fails_again
        self._seeds: list[int] = []
        self._ages = np.zeros(num_envs, np.int64)

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        self._seeds = list(seeds)
        self._ages[:] = 0
        return self._step(np.zeros((self.num_envs, 2), np.bool_), np.zeros(self.num_envs, np.bool_))

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        self.actions.append(actions[0][""].copy())
        self._ages += 1
        lengths = np.array([seed % 5 + 1 for seed in self._seeds])
        failed = np.zeros(self.num_envs, np.bool_)
        number = len(self.actions)
        if self._fails_at is not None and (number == self._fails_at or self._fails_again):
            failed[0] = True
            self._seeds[0] = self._on_failure(0, RuntimeError("broken"))
            self._ages[0] = 0
        over = (self._ages >= lengths) & ~failed
        ended = np.stack([over, (self._ages == np.maximum(lengths - 1, 1)) & ~failed], 1)
        return self._step(ended, over, rewards=self._took_part(lengths) * [1.0, 2.0], failed=failed)

    def close(self) -> None:
        self.is_closed = True

    def _took_part(self, lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.stack([np.ones(self.num_envs, np.bool_), self._ages <= np.maximum(lengths - 1, 1)], 1)

    def _step(
        self,
        ended: NDArray[np.bool_],
        over: NDArray[np.bool_],
        *,
        rewards: Any = 0.0,
        failed: NDArray[np.bool_] | None = None,
    ) -> MultiAgentStep:
        self._ages[over] = 0
        lengths = np.array([seed % 5 + 1 for seed in self._seeds])
        empty = np.zeros(0, np.intp)
        observations = np.zeros((self.num_envs, 2, 1), np.float32)
        observations[:] = np.array(self._seeds, np.float32)[:, None, None]
        return MultiAgentStep(
            observations=[{"": observations}],
            acting=np.stack([np.ones(self.num_envs, np.bool_), self._ages < np.maximum(lengths - 1, 1)], 1),
            rewards=np.broadcast_to(np.asarray(rewards, np.float32), (self.num_envs, 2)).copy(),
            terminated=ended,
            truncated=np.zeros_like(ended),
            over=over,
            last=[
                LastObservations(environments=empty, members=empty, observations={"": observations[:0, 0]})
            ],
            failed=failed if failed is not None and failed.any() else None,
        )


class Stack:
    """Prefers action 1 where the policy's number is 2; remembers how often each has acted since its start."""

    name = "s"
    observation_space: Space = BoxSpace(low=np.full(1, -1, np.float32), high=np.ones(1, np.float32))
    action_heads = (ActionHead(path="", kind="categorical", sizes=(2,), shape=(), start=0, stop=2),)
    state_spec: Mapping[str, TensorSpec] = {"age": TensorSpec(shape=(), dtype=np.dtype(np.float32))}

    def __init__(self) -> None:
        self.oldest = 0.0

    def set_weights(self, weights: Weights) -> None: ...

    def forget(self) -> None: ...

    def reserve(self, num_policies: int) -> None: ...

    def drop(self, policies: NDArray[np.int32]) -> None: ...

    def act(
        self, observations: Columns, policy: NDArray[np.int32], state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        assert (np.diff(policy) >= 0).all()
        self.oldest = max(self.oldest, float(state["age"].max()))
        prefers = policy == 2
        return np.stack([~prefers, prefers], 1).astype(np.float32), {"age": state["age"] + 1}


class Turns:
    """Lets the policies change sides with the number of the episode."""

    def assign(self, episode: Episode) -> NDArray[np.int32]:
        return np.array([0, 2] if episode.environment % 2 else [2, 0], np.int32)


def evaluated(num_envs: int, num_episodes: int = 7, **given: Any) -> EpisodeStatistics:
    failing = {name: given.pop(name) for name in ("fails_at", "fails_again") if name in given}
    vectors: list[Scripted] = []

    def make(number: int, on_failure: OnFailure) -> Scripted:
        vectors.append(Scripted(number, on_failure, **failing))
        return vectors[-1]

    settings = {"seed": 10, "max_env_restarts": 2, **given}
    try:
        return evaluate_agents(
            make, [Stack()], Turns(), POLICIES, num_episodes=num_episodes, num_envs=num_envs, **settings
        )
    finally:
        assert all(vector.is_closed for vector in vectors)


@pytest.mark.parametrize("num_envs", [1, 2, 3, 7, 50])
def test_every_seed_is_played_once_however_many_copies_there_are(num_envs: int) -> None:
    episodes = evaluated(num_envs)
    assert episodes.lengths.tolist() == [1, 2, 3, 4, 5, 1, 2]
    assert episodes.returns.tolist() == [3.0, 4.0, 7.0, 10.0, 13.0, 3.0, 4.0]


@pytest.mark.parametrize("num_envs", [1, 3])
def test_agents_get_what_was_theirs_under_the_policy_that_acted(num_envs: int) -> None:
    agents = evaluated(num_envs, num_episodes=3).agents
    assert agents is not None
    got = sorted(
        zip(
            agents.environment.tolist(),
            agents.agent.tolist(),
            agents.policy.tolist(),
            agents.returns.tolist(),
            agents.lengths.tolist(),
            strict=True,
        )
    )
    assert got == [
        (0, 0, 2, 1.0, 1),
        (0, 1, 0, 2.0, 1),
        (1, 0, 0, 2.0, 2),
        (1, 1, 2, 2.0, 1),
        (2, 0, 2, 3.0, 3),
        (2, 1, 0, 4.0, 2),
    ]


class Folding(Scripted):
    """Agent a gives up in its first step, and agent b has won before its first turn."""

    def _step(self, ended: Any, over: Any, **given: Any) -> MultiAgentStep:
        step = super()._step(ended, over, **given)
        is_first = np.zeros_like(step.acting)
        is_first[:, 0] = True
        rewards = step.over[:, None] * np.array([-1.0, 1.0], np.float32)
        return replace(
            step,
            acting=is_first,
            terminated=is_first & step.over[:, None],
            rewards=rewards.astype(np.float32),
        )


def test_who_wins_without_a_turn_has_won() -> None:
    episodes = evaluate_agents(
        Folding, [Stack()], Turns(), POLICIES, num_episodes=2, num_envs=1, seed=10, max_env_restarts=0
    )
    agents = episodes.agents
    assert agents is not None
    assert list(zip(agents.policy, agents.returns, agents.lengths, strict=True)) == [
        (2, -1.0, 1),
        (0, 1.0, 0),
        (0, -1.0, 2),
        (2, 1.0, 0),
    ]
    assert episodes.returns.tolist() == [0.0, 0.0]


def test_policies_take_their_most_likely_actions() -> None:
    made: list[Scripted] = []

    def make(number: int, on_failure: OnFailure) -> Scripted:
        made.append(Scripted(number, on_failure))
        return made[-1]

    evaluate_agents(
        make, [Stack()], Turns(), POLICIES, num_episodes=2, num_envs=2, seed=10, max_env_restarts=0
    )
    assert made[0].actions[0].tolist() == [[1, 0], [0, 1]]


def test_policies_that_explore_draw_other_actions_too_and_from_one_seed_the_same() -> None:
    made: list[Scripted] = []

    def make(number: int, on_failure: OnFailure) -> Scripted:
        made.append(Scripted(number, on_failure))
        return made[-1]

    for _ in range(2):
        settings = {"seed": 14, "max_env_restarts": 0, "explore": True}
        evaluate_agents(make, [Stack()], Turns(), POLICIES, num_episodes=40, num_envs=40, **settings)
    first, again = (vector.actions[0].tolist() for vector in made)
    assert first == again
    # The policy takes its likely action with probability e / (1 + e) = 0.73, all 80 with 1e-11.
    likely = [[1, 0], [0, 1]] * 20
    assert 0.5 < np.mean(np.array(first) == likely) < 1.0


class Sides(Turns):
    """Lets agents change sides, as the number of the episode says."""

    def assign(self, episode: Episode) -> NDArray[np.int32]:
        return np.array([0, 2] if episode.number % 2 else [2, 0], np.int32)


@pytest.mark.parametrize("num_envs", [1, 3])
def test_those_who_change_sides_by_the_number_of_an_episode_play_both(num_envs: int) -> None:
    episodes = evaluate_agents(
        Scripted, [Stack()], Sides(), POLICIES, num_episodes=8, num_envs=num_envs, seed=10, max_env_restarts=0
    )
    assert episodes.agents is not None
    assert episodes.agents.policy[episodes.agents.agent == 0].tolist() == [2, 2, 0, 0, 2, 2, 0, 0]


def test_what_a_policy_remembers_ends_with_the_agents_episode() -> None:
    stack = Stack()
    evaluate_agents(
        Scripted, [stack], Turns(), POLICIES, num_episodes=5, num_envs=1, seed=10, max_env_restarts=0
    )
    assert stack.oldest == 4.0


class Counting(Echo):
    """Does what it counts."""

    def act(
        self, observations: Columns, policy: NDArray[np.int32], state: Columns
    ) -> tuple[NDArray[Any], Columns]:
        parameters, after = super().act(observations, policy, state)
        parameters[:] = state["count"][:, None] % 4 == np.arange(4)
        return parameters, after


def test_a_policy_remembers_its_agents_own_turns_and_no_others() -> None:
    lottery = Lottery(num_envs=4, acts=0.8, ends=0.05)
    evaluate_agents(
        lambda *_: lottery,
        [Counting("red", GROUPS[0], has_memory=True), Echo("blue", GROUPS[1])],
        FunctionMapping(draw_a_policy, AGENTS, NUMBERS),
        ENTRIES,
        num_episodes=4,
        num_envs=4,
        seed=0,
        max_env_restarts=0,
    )
    num_turns = np.zeros((4, 2))
    for (before, after), actions in zip(pairwise(lottery.shown), lottery.taken, strict=True):
        acting = before.acting[:, :2]
        assert (actions[0][""][acting] == num_turns[acting] % 4).all()
        num_turns += acting
        num_turns[(after.terminated | after.truncated)[:, :2]] = 0
    assert len(lottery.taken) > 8


def watched(lottery: Lottery, copy: int) -> list[tuple[int, int, float, int]]:
    """Tell the episodes of agents in the first episode of a copy that nothing failed in."""
    told: list[tuple[int, int, float, int]] = []
    total, of_all = np.zeros((2, len(AGENTS)))
    num_turns, num_in_all = np.zeros((2, len(AGENTS)), np.int64)
    for before, after in pairwise(lottery.shown):
        assert after.failed is not None
        if after.failed[copy]:
            told = []
            for column in (total, of_all, num_turns, num_in_all):
                column[:] = 0
            continue
        for column, news in (
            (total, after.rewards),
            (of_all, after.rewards),
            (num_turns, before.acting),
            (num_in_all, before.acting),
        ):
            np.add(column, news[copy], out=column)
        ended = (after.terminated | after.truncated)[copy]
        told += [(copy, int(a), float(total[a]), int(num_turns[a])) for a in np.flatnonzero(ended)]
        total[ended] = num_turns[ended] = 0
        if after.over[copy]:
            idle = np.flatnonzero((num_in_all == 0) & (of_all != 0))
            return told + [(copy, int(a), float(of_all[a]), 0) for a in idle]
    raise AssertionError("the episode never ended")


@pytest.mark.parametrize("seed", range(3))
def test_agents_that_come_go_and_fail_get_what_a_watcher_counts(seed: int) -> None:
    lottery = Lottery(seed=seed, ends=0.1, fails=0.1)
    agents = evaluate_agents(
        lambda *_: lottery,
        [Echo("red", GROUPS[0]), Echo("blue", GROUPS[1])],
        FunctionMapping(draw_a_policy, AGENTS, NUMBERS),
        ENTRIES,
        num_episodes=3,
        num_envs=3,
        seed=0,
        max_env_restarts=0,
    ).agents
    assert agents is not None
    columns = (agents.environment, agents.agent, agents.returns, agents.lengths)
    found = sorted(zip(*(column.tolist() for column in columns), strict=True))
    assert found == sorted(each for copy in range(3) for each in watched(lottery, copy))


def test_actions_are_in_the_units_of_the_agents_that_do_them() -> None:
    groups = [
        replace(GROUPS[0], slots=np.array([slot]), action_space=gym.spaces.Discrete(4, start=start))
        for slot, start in enumerate((0, 10))
    ]
    lottery = Lottery(agents=("red_0", "red_1"), groups=groups, acts=1.0, ends=0.5)
    evaluate_agents(
        lambda *_: lottery,
        [Echo("red", groups[0])],
        MatchupMapping(Matchups([(1.0, {"red_0": "red a", "red_1": "red b"})]), lottery.agents, NUMBERS),
        [entry for entry in ENTRIES if entry.stack == "red"],
        num_episodes=3,
        num_envs=3,
        seed=0,
        max_env_restarts=0,
    )
    first, second = (actions[""] for actions in lottery.taken[0])
    assert first.max() < 4
    assert second.min() >= 10


def test_an_episode_in_which_the_environment_failed_is_played_again() -> None:
    whole, failing = evaluated(1, num_episodes=4), evaluated(1, num_episodes=4, fails_at=5)
    assert failing.returns.tolist() == whole.returns.tolist()
    assert failing.agents is not None
    assert whole.agents is not None
    assert failing.agents.returns.tolist() == whole.agents.returns.tolist()


def test_a_copy_that_fails_after_its_episode_loses_nothing() -> None:
    # Copy 0 has seed 10, whose episode has one step, and plays on until that of copy 1 is over.
    assert evaluated(2, num_episodes=2, fails_at=2).returns.tolist() == [3.0, 4.0]


def test_no_episodes_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="num_episodes is 0; it must be at least 1"):
        evaluated(2, num_episodes=0)


def test_an_environment_that_fails_again_and_again_ends_the_evaluation() -> None:
    with pytest.raises(EnvironmentsFailedError):
        evaluated(1, num_episodes=3, fails_at=2, fails_again=True)


def test_an_episode_without_end_is_cut_and_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multi_agent_evaluation, "_MAX_EPISODE_STEPS", 2)
    episodes = evaluated(2, num_episodes=5)
    assert episodes.lengths.tolist() == [1, 2, 2, 2, 2]
    assert episodes.returns.tolist() == [3.0, 4.0, 6.0, 6.0, 6.0]
    assert "cut after 2 steps" in caplog.text
