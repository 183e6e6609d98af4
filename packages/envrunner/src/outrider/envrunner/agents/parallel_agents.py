"""Adapter for PettingZoo's parallel environments: everybody in `agents` acts at the same time."""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from outrider.envrunner.agents.agents_copy import AgentsTurn
from outrider.envrunner.agents.dictionary_agents import ALL, dictionary_turn
from outrider.envrunner.agents.returned_by_agents import of_reset, of_step
from outrider.envrunner.environments.closing import close_if_it_can
from outrider.envrunner.environments.environment_state import restore_copy, save_copy


class ParallelAgents:
    """`agents` says who takes part and who acts; the episode is over when nobody is left in it.

    An agent that is flagged and still listed has ended too.
    """

    def __init__(self, env: Any) -> None:
        """Take over an environment."""
        self._env = env
        self.agents: Sequence[Any] = list(env.possible_agents)
        self.state_space: gym.spaces.Box | None = getattr(env, "state_space", None)
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self.state: Any = getattr(env, "state", None)

    def reset(self, seed: int | None) -> AgentsTurn:
        """Begin an episode."""
        observations = of_reset(self._env.reset(seed=seed))
        agents = self._env.agents
        return AgentsTurn(observations, agents, over=not agents)

    def step(self, actions: Mapping[Any, Any]) -> AgentsTurn:
        """Let all act."""
        observations, rewards, terminated, truncated, _ = of_step(self._env.step(actions))
        if ALL in terminated:  # it has methods for its spaces and yet ends episodes like the others
            return dictionary_turn(observations, rewards, terminated, truncated)
        agents = self._env.agents
        over = not agents or bool(terminated.get(agents[0]) or truncated.get(agents[0]))
        over = over and all(terminated.get(agent) or truncated.get(agent) for agent in agents)
        return AgentsTurn(observations, agents, rewards, terminated, truncated, agents, over)

    def get_state(self) -> Any:
        """Save the environment, if it can."""
        return save_copy(self._env)

    def set_state(self, state: Any) -> None:
        """Restore it."""
        restore_copy(self._env, state)

    def close(self) -> None:
        """Close the environment, if there is anything to close."""
        close_if_it_can(self._env)
