"""What a runner of several agents has to record: a plain loop over one copy of a story, with dictionaries.

It knows no slots, no streams and no fragments. An agent's row begins when it acts and is finished when it
is to act again or has ended; what it got in between belongs to it.
"""

# ruff: noqa: ANN401 - observations have no common type

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outrider.testing.agent_script import Script
from outrider.testing.story_policies import policy_of
from outrider.testing.story_teller import StoryTeller


@dataclass
class Transition:
    """Something that happened to one agent."""

    agent: str
    policy: int
    version: int
    observation: Mapping[str, list[float]]
    action: list[int]
    count: int
    """Steps that it made in its episode before."""
    state: list[float]
    began: int
    """The step in which it acted."""
    finished: int = -1
    """The step after which it was to act again, or had ended."""
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    following: Mapping[str, list[float]] = field(default_factory=dict)
    """What it saw next; nothing where it terminated."""
    following_state: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class AgentEpisode:
    """An episode of one agent that ended in a step."""

    finished: int
    policy: int
    agent: str
    total: float
    length: int


@dataclass
class Happenings:
    """All of one copy."""

    transitions: list[Transition] = field(default_factory=list)
    """In the order in which they were finished."""
    agents: list[AgentEpisode] = field(default_factory=list)
    environments: list[tuple[int, float, int]] = field(default_factory=list)
    """Of each episode the step that ended it, what all agents got, and its number of steps."""


def live_through(
    scripts: Sequence[Script], *, seed: int, environment: int, num_steps: int, steps_of_a_version: int
) -> Happenings:
    """Play one copy for a while, one agent after the other."""
    teller, seen = StoryTeller(scripts), Happenings()
    turn = teller.begin(seed).acting
    episode = length = 0
    rows: dict[str, Transition] = {}
    counts: dict[str, int] = {}
    totals: dict[str, float] = {}
    idle: dict[str, float] = {}
    has_acted: set[str] = set()
    total = 0.0
    for now in range(num_steps):
        actions = {}
        for agent in turn:
            row = Transition(
                agent=agent,
                policy=policy_of(agent, teller.agents.index(agent), environment, episode),
                version=now // steps_of_a_version,
                observation=_leaves(teller.observe(agent)),
                action=[],
                count=counts.get(agent, 0),
                state=teller.state().tolist(),
                began=now,
            )
            row.action = _choose(row)
            actions[agent] = row.action if agent.startswith("blue") else row.action[0]
            rows[agent] = row
            has_acted.add(agent)
            counts[agent] = row.count + 1
        moment = teller.go_on(actions)
        length += 1
        for agent, reward in moment.rewards.items():
            total += reward
            totals[agent] = totals.get(agent, 0.0) + reward
            idle[agent] = idle.get(agent, 0.0) + reward
            if agent in rows:
                rows[agent].reward += reward
        for agent in [*moment.ends, *moment.cut]:
            end = moment.ends.get(agent, moment.all_end)
            row = rows.pop(agent)
            row.finished, row.terminated, row.truncated = now, end in "TB", end in "XB"
            row.following = {} if row.terminated else _leaves(teller.observe(agent))
            row.following_state = [] if row.terminated else teller.state().tolist()
            seen.transitions.append(row)
            seen.agents.append(
                AgentEpisode(now, row.policy, agent, totals.pop(agent, 0.0), counts.pop(agent))
            )
        turn = moment.acting
        for agent in turn:
            if agent in rows:
                row = rows.pop(agent)
                row.finished, row.following = now, _leaves(teller.observe(agent))
                row.following_state = teller.state().tolist()
                seen.transitions.append(row)
        if moment.over:
            assert not rows, "the script leaves nobody behind"
            got = {agent: reward for agent, reward in idle.items() if reward and agent not in has_acted}
            seen.agents += [
                AgentEpisode(
                    now, policy_of(agent, teller.agents.index(agent), environment, episode), agent, reward, 0
                )
                for agent, reward in got.items()
            ]
            seen.environments.append((now, total, length))
            turn, episode, length, total = teller.begin(None).acting, episode + 1, 0, 0.0
            counts, totals, idle, has_acted = {}, {}, {}, set()
    return seen


def _choose(row: Transition) -> list[int]:
    """Do what a `StoryStack` prefers."""
    total = sum(sum(leaf) for leaf in row.observation.values()) + 2 * row.policy + row.version + row.count
    return [int(total % size) for size in ((3, 2) if row.agent.startswith("blue") else (5,))]


def _leaves(observation: Any) -> dict[str, list[float]]:
    if isinstance(observation, Mapping):
        return {f"/{name}": leaf.tolist() for name, leaf in observation.items()}
    return {"": observation.tolist()}
