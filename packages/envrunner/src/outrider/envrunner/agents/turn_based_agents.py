"""Adapter for PettingZoo's AEC environments: one agent acts, then another.

`rewards` of an AEC environment is what its last step gave to each agent, and stale in some of them;
`_cumulative_rewards` is what came since an agent acted, its own step included, and is what `last()` tells
an agent when its turn comes. So an agent's reward is told here when it is selected, all at once: that is
exactly what its last action led to. An agent with an end is selected once more, for a step that does
nothing (`step(None)`). Only then is its end told, because what it gets until then is its last action's too.
"""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym

from outrider.envrunner.agents.agents_copy import AgentsTurn
from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.environments.closing import close_if_it_can
from outrider.envrunner.environments.environment_state import restore_copy, save_copy


class TurnBasedAgents:
    """The selected agent acts; the episode is over when nobody is left."""

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
        self._env.reset(seed=seed)
        return self._turn()

    def step(self, actions: Mapping[Any, Any]) -> AgentsTurn:
        """Let the selected agent act."""
        for action in actions.values():
            self._env.step(action)
        return self._turn()

    def get_state(self) -> Any:
        """Save the environment, if it can."""
        return save_copy(self._env)

    def set_state(self, state: Any) -> None:
        """Restore it."""
        restore_copy(self._env, state)

    def close(self) -> None:
        """Close the environment, if there is anything to close."""
        close_if_it_can(self._env)

    def _turn(self) -> AgentsTurn:
        """Take away those that have ended, until somebody is to act."""
        env = self._env
        turn = AgentsTurn({}, (), {}, {}, {}, ())
        while env.agents:
            agent = env.agent_selection
            try:
                has_ended = env.terminations[agent] or env.truncations[agent]
            except KeyError:
                raise AgentsError(
                    f"agent_selection is {agent!r}, and terminations or truncations know no such agent; "
                    f"select one of `agents`, which are {', '.join(map(repr, env.agents))}"
                ) from None
            observation, reward, terminated, truncated, _ = env.last(
                observe=not has_ended or bool(env.truncations[agent])
            )
            turn.rewards[agent] = reward  # type: ignore[index]
            if observation is not None:
                turn.observations[agent] = observation  # type: ignore[index]
            if not has_ended:
                turn.acting, turn.present = [agent], env.agents
                return turn
            turn.terminated[agent], turn.truncated[agent] = terminated, truncated  # type: ignore[index]
            env.step(None)
            if agent in env.agents:
                raise AgentsError(
                    f"agent {agent!r} has ended and step(None) does not take it out of `agents`; do there "
                    "what PettingZoo's _was_dead_step does"
                )
        turn.over = True
        return turn
