"""What a runner of several agents records is what happened."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import pytest

from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep
from outrider.testing.agents_by_lot import (
    AGENTS,
    FIRST,
    STATE,
    Lottery,
    Setting,
)
from outrider.wire import Fragment
from outrider.wire.fragment_checks import check_fragment


@dataclass
class Row:
    """One transition, as somebody knows it who watches one agent."""

    at: int
    committed: int
    policy: int
    observation: Any
    state: Any
    count: int
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    following: Any = None
    following_state: Any = None


@dataclass
class Ended:
    """An episode of an agent."""

    at: int
    policy: int
    agent: int
    total: float
    length: int
    environment: int
    episode: int


def seen(step: MultiAgentStep, environment: int, agent: int) -> Any:
    group = 0 if agent < 2 else 1
    return step.observations[group][""][environment, agent % 2]


def last_seen(step: MultiAgentStep, environment: int, agent: int) -> Any:
    group = 0 if agent < 2 else 1
    last = step.last[group]
    (place,) = np.flatnonzero((last.environments == environment) & (last.members == agent % 2))
    return last.observations[""][place]


def state_of(step: MultiAgentStep, environment: int) -> Any:
    return None if step.states is None else step.states[environment]


def last_state(step: MultiAgentStep, environment: int) -> Any:
    if step.last_states is None or not step.over[environment]:
        return state_of(step, environment)
    return step.last_states[int(step.over[:environment].sum())]


def watch(setting: Setting, environment: int, agent: int) -> tuple[list[Row], list[Ended], int]:
    """Tell the transitions and episodes of one agent in one environment, and how many rows were lost."""
    rows: list[Row] = []
    ended: list[Ended] = []
    policies = iter(setting.mapping.said[FIRST + environment])
    policy = int(next(policies)[agent])
    row: Row | None = None
    total, length, num_lost, episode = 0.0, 0, 0, 0
    shown = setting.vector.shown
    for at, (before, after) in enumerate(pairwise(shown)):
        if before.acting[environment, agent]:
            row = Row(at, -1, policy, seen(before, environment, agent), state_of(before, environment), length)
            length += 1
        failed = after.failed is not None and bool(after.failed[environment])
        if failed and row is not None:
            num_lost += 1
            before_it = rows[-1] if rows else None
            same_fragment = before_it and before_it.committed // setting.num_steps == at // setting.num_steps
            if before_it and same_fragment and not (before_it.terminated or before_it.truncated):
                before_it.truncated = True
                before_it.following, before_it.following_state = row.observation, row.state
            row = None
        total += 0 if failed else float(after.rewards[environment, agent])
        is_over = failed or bool(after.over[environment])
        terminated, truncated = after.terminated[environment, agent], after.truncated[environment, agent]
        if row is not None:
            row.reward += float(after.rewards[environment, agent])
            if terminated or truncated or after.acting[environment, agent]:
                row.committed, row.terminated, row.truncated = at, bool(terminated), bool(truncated)
                row.following = seen(after, environment, agent)
                row.following_state = last_state(after, environment)
                if truncated:
                    row.following = last_seen(after, environment, agent)
                rows.append(row)
                row = None
        if terminated or truncated:
            ended.append(Ended(at, policy, agent, total, length, FIRST + environment, episode))
            total, length = 0.0, 0
        if is_over:
            total, length, episode = 0.0, 0, episode + 1
            policy = int(next(policies)[agent])
    return rows, ended + watch_idle(setting, environment, agent), num_lost


def watch_idle(setting: Setting, environment: int, agent: int) -> list[Ended]:
    """Tell the environment's episodes in which an agent had no turn, and got something all the same."""
    ended: list[Ended] = []
    policies = iter(setting.mapping.said[FIRST + environment])
    total, has_acted, episode = 0.0, False, 0
    for at, (before, after) in enumerate(pairwise(setting.vector.shown)):
        has_acted |= bool(before.acting[environment, agent])
        failed = after.failed is not None and bool(after.failed[environment])
        total += float(after.rewards[environment, agent])
        if failed or after.over[environment]:
            policy = int(next(policies)[agent])
            if total and not has_acted and not failed:
                ended.append(Ended(at, policy, agent, total, 0, FIRST + environment, episode))
            total, has_acted, episode = 0.0, False, episode + 1
    return ended


Watched: TypeAlias = dict[tuple[int, int], tuple[list[Row], list[Ended], int]]
"""By environment and agent."""


def assert_recorded(setting: Setting, watched: Watched, parts: list[Fragment], number: int) -> None:
    """Compare the parts of fragment `number` with what happened in its steps."""
    steps = range(number * setting.num_steps, (number + 1) * setting.num_steps)
    expected: dict[tuple[int, int, int], list[Row]] = {}
    for (environment, agent), (rows, _, _) in watched.items():
        for row in rows:
            if row.committed in steps:
                expected.setdefault((row.policy, FIRST + environment, agent), []).append(row)
    for part in parts:
        check_fragment(part)
        next_at = {row: place for place, row in enumerate(part.next_rows.tolist())}
        for key, places in places_by_agent(part, expected).items():
            happened = expected.pop(key)
            assert len(happened) == len(places)
            for row, place in zip(happened, places, strict=True):
                assert_row(setting, part, place, row)
                assert_acted(setting, part, place, key, row)
                if place in next_at:
                    assert_followed(part, next_at[place], row)
    assert not expected


def places_by_agent(
    part: Fragment, expected: dict[tuple[int, int, int], list[Row]]
) -> dict[tuple[int, int, int], list[int]]:
    """Return the rows of each policy, environment and agent, and look at the states of their streams."""
    found: dict[tuple[int, int, int], list[int]] = {}
    streams, first = part.streams, 0
    for index, length in enumerate(streams.lengths.tolist()):
        key = (int(streams.policy[index]), int(streams.environment[index]), int(streams.agent[index]))
        places = found.setdefault(key, [])
        if streams.state:
            assert streams.state["count"][index] == expected[key][len(places)].count
        places.extend(range(first, first + length))
        first += length
    return found


def assert_row(setting: Setting, part: Fragment, place: int, row: Row) -> None:
    assert (part.observations[""][place] == row.observation).all()
    assert part.rewards[place] == row.reward
    assert part.terminated[place] == row.terminated
    assert part.truncated[place] == row.truncated
    assert np.broadcast_to(part.policy_version, part.num_rows)[place] == row.at // setting.num_steps
    assert part.action_parameters is not None
    assert part.action_parameters[place, 0] == np.float32(row.observation[0] + row.policy)
    assert (part.critic_rows is None) == (row.state is None)
    if part.critic_rows is not None:
        assert (part.critic_states[""][part.critic_rows[place]] == row.state).all()


def assert_followed(part: Fragment, place: int, row: Row) -> None:
    assert (part.next_observations[""][place] == row.following).all()
    if part.next_critic_rows is not None:
        assert (part.critic_states[""][part.next_critic_rows[place]] == row.following_state).all()


def assert_acted(setting: Setting, part: Fragment, place: int, key: tuple[int, int, int], row: Row) -> None:
    group = 0 if key[2] < 2 else 1
    taken = setting.vector.taken[row.at][group][""][key[1] - FIRST, key[2] % 2]
    action = part.actions[""][place]
    assert taken == pytest.approx(action if group == 0 else np.clip(action, -1, 1))


def assert_counted(setting: Setting, watched: Watched, parts: list[Fragment], number: int) -> None:
    """Compare episodes and lost rows of fragment `number` with what happened."""
    steps = range(number * setting.num_steps, (number + 1) * setting.num_steps)
    ended = [each for _, episodes, _ in watched.values() for each in episodes if each.at in steps]
    found = []
    for part in parts:
        agents = part.episodes.agents
        assert agents is not None
        columns = (agents.policy, agents.agent, agents.returns, agents.lengths)
        found += list(zip(*columns, agents.environment, agents.episode, strict=True))
    assert sorted(found) == sorted(astuple(each)[1:] for each in ended)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "lottery",
    [
        Lottery(acts=1.0, ends=0.0),
        Lottery(acts=1.0, ends=0.2),
        Lottery(acts=0.5, ends=0.1, state_space=STATE),
        Lottery(acts=0.3, ends=0.15, fails=0.1, state_space=STATE),
        Lottery(acts=0.1, ends=0.02, num_envs=4),
    ],
    ids=["always", "all end", "turns", "failures", "rare"],
)
def test_rows_are_what_happened(lottery: Lottery, seed: int) -> None:
    setting = Setting(replace(lottery, seed=seed), num_steps=9)
    history = [setting.sample(version) for version in range(5)]
    last = setting.sample(5)  # so that it is known what follows
    watched = {
        (environment, agent): watch(setting, environment, agent)
        for environment in range(lottery.num_envs)
        for agent in range(len(AGENTS))
    }
    for number, parts in enumerate(history):
        assert_recorded(setting, watched, parts, number)
        assert_counted(setting, watched, parts, number)
    assert sum(len(rows) for rows, _, _ in watched.values()) >= 40
    num_lost = sum(num_lost for _, _, num_lost in watched.values())
    assert (num_lost > 0) == (lottery.fails > 0)
    assert num_lost == sum(parts[0].statistics.num_lost_rows for parts in (*history, last))


def test_the_same_seed_gives_the_same_episodes_to_the_mapping() -> None:
    first, second = (Setting(Lottery(ends=0.3), num_steps=9) for _ in range(2))
    first.sample(0)
    second.sample(0)
    assert first.mapping.episodes == second.mapping.episodes
    ids = [episode.id_ for episode in first.mapping.episodes]
    assert len(set(ids)) == len(ids) > 3
    assert {episode.environment for episode in first.mapping.episodes} == {10, 11, 12}


def test_episodes_of_environments_count_all_agents_and_steps() -> None:
    setting = Setting(Lottery(acts=1.0, ends=0.2), num_steps=30)
    episodes = setting.sample(0)[0].episodes
    expected, begun = [], np.zeros(3, np.intp)
    for at, step in enumerate(setting.vector.shown[1:], 1):
        for environment in np.flatnonzero(step.over):
            steps = setting.vector.shown[begun[environment] + 1 : at + 1]
            expected.append((float(sum(each.rewards[environment].sum() for each in steps)), len(steps)))
            begun[environment] = at
    assert len(expected) > 5
    assert list(zip(episodes.returns.tolist(), episodes.lengths.tolist(), strict=True)) == expected
