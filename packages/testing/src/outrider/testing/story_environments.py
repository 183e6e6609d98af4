"""The same story as each kind of environment for several agents that there is, by what they can do alone.

`SimultaneousStory` is what PettingZoo calls a parallel environment, `TurnStory` what it calls AEC, and
`DictionaryStory` what RLlib calls a MultiAgentEnv; none of these libraries is needed.
"""

# ruff: noqa: ANN401 - actions and observations have no common type

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from outrider.testing import story_teller
from outrider.testing.agent_script import Script
from outrider.testing.story_teller import STATE_SPACE, Moment, StoryTeller

Five = tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]


class _Story:
    """What all of them have."""

    def __init__(self, scripts: Sequence[Script], *, has_state: bool = True) -> None:
        self.teller = StoryTeller(scripts)
        self.possible_agents = list(self.teller.agents)
        self.state_space = STATE_SPACE if has_state else None

    def state(self) -> NDArray[np.float32]:
        """Return the global state."""
        return self.teller.state()

    def close(self) -> None:
        """Hold nothing."""


class SimultaneousStory(_Story):
    """Everybody who is in `agents` acts."""

    def __init__(self, scripts: Sequence[Script], *, has_state: bool = True) -> None:
        """Nobody takes part before a reset."""
        super().__init__(scripts, has_state=has_state)
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """What an agent sees."""
        return story_teller.observation_space(agent)

    def action_space(self, agent: str) -> gym.Space[Any]:
        """What an agent does."""
        return story_teller.action_space(agent)

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode."""
        self.agents = list(self.teller.begin(seed).acting)
        return {agent: self.teller.observe(agent) for agent in self.agents}, {}

    def step(self, actions: Mapping[str, Any]) -> Five:
        """Tell rewards and ends of all who acted, and show something to them and to who joins."""
        moment = self.teller.go_on(actions)
        ends = _ends(moment)
        self.agents = list(moment.acting)
        terminated = {agent: ends.get(agent, "") in {"T", "B"} for agent in actions}
        truncated = {agent: ends.get(agent, "") in {"X", "B"} for agent in actions}
        shown = dict.fromkeys([*actions, *moment.acting])
        observations = {agent: self.teller.observe(agent) for agent in shown}
        rewards = {agent: moment.rewards.get(agent, 0.0) for agent in actions}
        return observations, rewards, terminated, truncated, {agent: {} for agent in shown}


class DictionaryStory(_Story):
    """Those act who are shown something; "__all__" ends an episode, without flags for each agent."""

    def __init__(self, scripts: Sequence[Script], *, has_state: bool = True) -> None:
        """Spaces are dictionaries."""
        super().__init__(scripts, has_state=has_state)
        self.observation_spaces = {
            agent: story_teller.observation_space(agent) for agent in self.possible_agents
        }
        self.action_spaces = {agent: story_teller.action_space(agent) for agent in self.possible_agents}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode."""
        return {agent: self.teller.observe(agent) for agent in self.teller.begin(seed).acting}, {}

    def step(self, actions: Mapping[str, Any]) -> Five:
        """Tell what happened to whom."""
        moment = self.teller.go_on(actions)
        truncated = {agent: True for agent, end in moment.ends.items() if end != "T"}
        shown = [*moment.acting, *truncated, *(moment.cut if moment.all_end == "X" else ())]
        truncated["__all__"] = moment.all_end == "X"
        terminated = {agent: True for agent, end in moment.ends.items() if end != "X"}
        terminated["__all__"] = moment.over and moment.all_end != "X"
        observations = {agent: self.teller.observe(agent) for agent in shown}
        return observations, dict(moment.rewards), terminated, truncated, {}


class TurnStory(_Story):
    """One agent acts at a time; the dead are taken away first, by steps that do nothing."""

    def __init__(self, scripts: Sequence[Script], *, has_state: bool = True) -> None:
        """Nobody is there before a reset."""
        super().__init__(scripts, has_state=has_state)
        self.agents: list[str] = []
        self.agent_selection = ""
        self.rewards: dict[str, float] = {}
        self.terminations: dict[str, bool] = {}
        self.truncations: dict[str, bool] = {}
        self.infos: dict[str, dict[str, Any]] = {}
        self._cumulative_rewards: dict[str, float] = {}
        self._next: tuple[str, ...] = ()

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """What an agent sees."""
        return story_teller.observation_space(agent)

    def action_space(self, agent: str) -> gym.Space[Any]:
        """What an agent does."""
        return story_teller.action_space(agent)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode with all who will act in it, as players sit at a table."""
        self._next = self.teller.begin(seed).acting
        players = {agent for line in self.teller.script.lines for agent, cell in line.items() if cell.acts}
        self.agents = []
        for agent in self.possible_agents:
            if agent in players:
                self._sit_down(agent)
        self._select()

    def step(self, action: Any) -> None:
        """Let the selected agent act, or be taken away."""
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            assert action is None
            self.agents.remove(agent)
            del self.terminations[agent], self.truncations[agent], self._cumulative_rewards[agent]
            self._select()
            return
        self._cumulative_rewards[agent] = 0.0
        moment = self.teller.go_on({agent: action})
        self.rewards = {each: moment.rewards.get(each, 0.0) for each in self.agents}
        for each, reward in self.rewards.items():
            self._cumulative_rewards[each] += reward
        ends = _ends(moment)
        for each in self.agents:
            end = ends.get(each, moment.all_end if moment.over else "")
            if moment.over and not end:
                end = "T"
            self.terminations[each], self.truncations[each] = end in {"T", "B"}, end in {"X", "B"}
        self._next = moment.acting
        self._select()

    def observe(self, agent: str) -> Any:
        """Return what an agent sees now."""
        return self.teller.observe(agent)

    def last(self, observe: bool = True) -> tuple[Any, float, bool, bool, dict[str, Any]]:  # noqa: FBT001, FBT002
        """Tell the selected agent what came since it acted."""
        agent = self.agent_selection
        seen = self.observe(agent) if observe else None
        reward = self._cumulative_rewards[agent]
        return seen, reward, self.terminations[agent], self.truncations[agent], {}

    def _sit_down(self, agent: str) -> None:
        self.agents.append(agent)
        self.terminations[agent] = self.truncations[agent] = False
        self._cumulative_rewards[agent] = 0.0

    def _select(self) -> None:
        dead = [agent for agent in self.agents if self.terminations[agent] or self.truncations[agent]]
        for agent in [] if dead else self._next:
            if agent not in self.agents:
                self._sit_down(agent)
        self.agent_selection = next(iter([*dead, *self._next]), "")


def _ends(moment: Moment) -> dict[str, str]:
    """Return everybody's end, the environment's for those who have none of their own."""
    return {**moment.ends, **dict.fromkeys(moment.cut, moment.all_end)}
