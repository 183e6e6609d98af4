"""What a runner of several agents records is what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from outrider.envrunner.agents.agents_error import ForgottenEndError
from outrider.envrunner.agents.multi_agent_vector import AgentGroup, LastObservations, MultiAgentStep
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.policies.function_mapping import FunctionMapping
from outrider.envrunner.policies.matchups import MatchupMapping, Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.policy_mapping import Episode
from outrider.envrunner.sampling.multi_agent_runner import MultiAgentRunner
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.wire import Columns, Fragment, TensorSpec, Weights, action_heads
from outrider.wire.fragment_checks import check_fragment

AGENTS = ("red_0", "red_1", "blue_0")
GROUPS = (
    AgentGroup(
        slots=np.array([0, 1]),
        observation_space=gym.spaces.Box(-np.inf, np.inf, (3,), np.float32),
        action_space=gym.spaces.Discrete(4),
    ),
    AgentGroup(
        slots=np.array([2]),
        observation_space=gym.spaces.Box(-np.inf, np.inf, (2,), np.float64),
        action_space=gym.spaces.Box(-1, 1, (1,), np.float32),
    ),
)


STATE = gym.spaces.Box(0, 1, (2,), np.float32)


@dataclass
class Lottery:
    """A vector in which agents act, end, join and fail by lot; it remembers all that it showed."""

    num_envs: int = 3
    seed: int = 0
    acts: float = 0.6
    ends: float = 0.1
    fails: float = 0.0
    agents: Sequence[str] = AGENTS
    groups: Sequence[AgentGroup] = GROUPS
    state_space: gym.spaces.Box | None = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.shown: list[MultiAgentStep] = []
        self.taken: list[Any] = []
        self.closed = False

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        assert len(seeds) == self.num_envs
        none = np.zeros((self.num_envs, len(self.agents)), np.bool_)
        self.taking_part = none.copy()
        return self.show(none, none, none[:, 0], np.zeros(none.shape, np.float32), None)

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        self.taken.append([{path: column.copy() for path, column in group.items()} for group in actions])
        size = (self.num_envs, len(self.agents))
        rng = self.rng
        failed = rng.random(self.num_envs) < self.fails
        over = (rng.random(self.num_envs) < self.ends) & ~failed
        ends = (rng.random(size) < self.ends) | over[:, None]
        ends &= self.taking_part & ~failed[:, None]
        terminated = ends & (rng.random(size) < 0.5)
        truncated = ends & (~terminated | (rng.random(size) < 0.2))
        self.taking_part[ends] = False
        self.taking_part[over | failed] = False
        rewards = rng.integers(-4, 5, size).astype(np.float32)
        return self.show(terminated, truncated, over, rewards, failed if self.fails else None)

    def show(self, terminated: Any, truncated: Any, over: Any, rewards: Any, failed: Any) -> MultiAgentStep:
        size = (self.num_envs, len(self.agents))
        acting = self.rng.random(size) < self.acts
        self.taking_part |= acting
        last = []
        for group in self.groups:
            environments, members = np.nonzero(truncated[:, group.slots])
            last.append(
                LastObservations(
                    environments=environments, members=members, observations=self.draw(group, len(members))
                )
            )
        step = MultiAgentStep(
            observations=[
                {
                    path: column.reshape(self.num_envs, len(group.slots), -1)
                    for path, column in self.draw(group, self.num_envs * len(group.slots)).items()
                }
                for group in self.groups
            ],
            acting=acting,
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            over=over,
            last=last,
            states=self.rng.random((self.num_envs, 2), np.float32) if self.state_space else None,
            last_states=self.rng.random((int(over.sum()), 2), np.float32) if self.state_space else None,
            failed=failed,
        )
        self.shown.append(step)
        return replace(step, acting=step.acting.copy(), rewards=rewards.copy())

    def draw(self, group: AgentGroup, count: int) -> dict[str, NDArray[Any]]:
        space = group.observation_space
        return {"": self.rng.random((count, *(space.shape or ()))).astype(space.dtype)}

    def close(self) -> None:
        self.closed = True


class Echo:
    """A stack whose parameters say what was observed, by which policy; it may count its own steps."""

    def __init__(self, name: str, group: AgentGroup, *, has_memory: bool = False) -> None:
        self.name = name
        self.observation_space = space_from_gymnasium(group.observation_space)
        self.action_heads = action_heads(space_from_gymnasium(group.action_space))
        self.state_spec = {"count": TensorSpec(shape=(), dtype=np.dtype("f4"))} if has_memory else {}
        self.num_calls = 0

    def set_weights(self, weights: Weights) -> None:
        pass

    def forget(self) -> None:
        pass

    def reserve(self, num_policies: int) -> None:
        pass

    def drop(self, policies: NDArray[np.int32]) -> None:
        pass

    def act(self, observations: Columns, policy: NDArray[np.int32], state: Columns) -> Any:
        self.num_calls += 1
        assert (np.diff(policy) >= 0).all()
        parameters = np.zeros((len(policy), self.action_heads[-1].stop), np.float32)
        parameters[:, 0] = observations[""][:, 0] + policy
        return parameters, {name: column + 1 for name, column in state.items()}


ENTRIES = [
    PolicyEntry(name=name, number=number, stack="blue" if name.startswith("blue") else "red")
    for number, name in enumerate(["red a", "blue a", "red b", "blue b", "red c"])
]
NUMBERS = {entry.name: entry.number for entry in ENTRIES}


def draw_a_policy(agent: str, episode: Episode) -> str:
    """Draw one of the agent's team."""
    names = [name for name in NUMBERS if name.startswith(agent.partition("_")[0])]
    return str(episode.rng.choice(names))


class Remembering:
    """A mapping that remembers what it said of each environment."""

    def __init__(self) -> None:
        self._mapping = FunctionMapping(draw_a_policy, AGENTS, NUMBERS)
        self.said: dict[int, list[NDArray[np.int32]]] = {}
        self.episodes: list[Episode] = []

    def assign(self, episode: Episode) -> NDArray[np.int32]:
        self.episodes.append(episode)
        policy = self._mapping.assign(episode)
        self.said.setdefault(episode.environment, []).append(policy)
        return policy


def weights(version: int) -> Weights:
    return Weights(version=version, fingerprint="", tensors={})


FIRST = 10


class Setting:
    """A runner on a lottery, with all that is needed to tell what happened."""

    def __init__(self, vector: Lottery, num_steps: int, **settings: Any) -> None:
        self.vector = vector
        self.num_steps = num_steps
        self.mapping = Remembering()
        self.stacks = [Echo("red", GROUPS[0], has_memory=True), Echo("blue", GROUPS[1])]
        self.runner = MultiAgentRunner(
            vector,
            self.stacks,
            self.mapping,
            ENTRIES,
            num_steps=num_steps,
            seed=7,
            first_environment=FIRST,
            settings=EnvRunnerSettings(record_action_parameters=True, max_env_restarts=10**6, **settings),
            has_central_critic=vector.state_space is not None,
        )

    def sample(self, version: int) -> list[Fragment]:
        """Return the parts of the next fragment."""
        self.runner.set_weights(weights(version))
        fragment = self.runner.sample()
        return [fragment, *fragment.others]


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
    return rows, ended, num_lost


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


def test_one_call_is_made_for_each_stack_and_step() -> None:
    setting = Setting(Lottery(acts=1.0, ends=0.0), num_steps=9)
    setting.sample(0)
    assert [stack.num_calls for stack in setting.stacks] == [9, 9]


def test_the_outer_fragment_is_that_of_the_first_stack_also_without_rows() -> None:
    setting = Setting(Lottery(acts=0.0, ends=0.0), num_steps=2)
    (only,) = setting.sample(3)
    check_fragment(only)
    assert only.num_rows == 0
    assert only.policy_version.tolist() == [3]
    assert only.observations[""].shape == (0, 3)


def test_an_agent_whose_spaces_do_not_fit_its_policy_is_named_with_it() -> None:
    setting = Setting(Lottery(), num_steps=2)
    setting.runner = MultiAgentRunner(
        setting.vector,
        setting.stacks,
        MatchupMapping(
            Matchups([(1.0, {"red_0": "red a", "red_1": "blue b", "blue_0": "blue a"})]), AGENTS, NUMBERS
        ),
        ENTRIES,
        num_steps=2,
        seed=0,
        settings=EnvRunnerSettings(),
    )
    sentence = (
        r"agent 'red_1' is played by policy 'blue b', but the agent observes float32\[3\] and the policy was "
        r"made for float64\[2\]; give agents"
    )
    with pytest.raises(ValueError, match=sentence):
        setting.sample(0)


def test_a_forgotten_end_is_told_with_the_policy() -> None:
    setting = Setting(Lottery(ends=0.0), num_steps=5)
    setting.sample(0)

    def forget(actions: Any) -> MultiAgentStep:
        raise ForgottenEndError("blue_0", 1)

    setting.vector.step = forget  # type: ignore[method-assign]
    name = ENTRIES[setting.mapping.said[FIRST + 1][0][2]].name
    with pytest.raises(
        ValueError, match=f"'blue_0' vanished from environment copy 1 .*; policy '{name}' acted"
    ):
        setting.sample(1)


def test_a_vector_that_fails_as_a_whole_costs_the_rows_that_were_open() -> None:
    setting = Setting(Lottery(acts=1.0, ends=0.0), num_steps=6)
    step, calls = setting.vector.step, iter(range(100))

    def fail_once(actions: Any) -> MultiAgentStep:
        if next(calls) == 3:
            raise OSError("lost")
        return step(actions)

    setting.vector.step = fail_once  # type: ignore[method-assign]
    parts = setting.sample(0)
    assert [part.num_rows for part in parts] == [5 * 6, 5 * 3]
    assert [part.truncated.sum() for part in parts] == [6, 3]
    assert parts[0].statistics.num_lost_rows == 9
    assert parts[0].statistics.num_restarts == 1
    assert parts[0].episodes.returns.size == 0
    assert len(setting.mapping.episodes) == 6
    for part in parts:
        check_fragment(part)


def test_weights_are_needed_first() -> None:
    with pytest.raises(RuntimeError, match="no weights yet; call set_weights before sample"):
        Setting(Lottery(), num_steps=2).runner.sample()
