"""Adapter for environments whose dictionaries are keyed by agent and have "__all__", as RLlib knows them.

An agent acts when an observation of it is shown. "__all__" alone ends an episode; whoever has no flag of
its own then shares the environment's end, and so does one that was shown nothing any more.
"""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import gymnasium as gym

from outrider.envrunner.agents.agents_copy import AgentsTurn
from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.agents.returned_by_agents import of_reset, of_step
from outrider.envrunner.environments.closing import close_if_it_can
from outrider.envrunner.environments.environment_state import restore_copy, save_copy

ALL = "__all__"


class DictionaryAgents:
    """`reset` returns two dictionaries, `step` five."""

    def __init__(self, env: Any) -> None:
        """Take over an environment. Raises ValueError where it does not say what its agents see and do."""
        self._env = env
        by_agent = getattr(env, "observation_spaces", None)
        agents = getattr(env, "possible_agents", None) or by_agent
        if not agents:
            raise ValueError("possible_agents is empty; list all agents that may ever take part")
        self.agents: Sequence[Any] = list(agents)
        self.state_space: gym.spaces.Box | None = getattr(env, "state_space", None)
        self.observation_space = _spaces(env, "observation", self.agents)
        self.action_space = _spaces(env, "action", self.agents)
        self.state: Any = getattr(env, "state", None)

    def reset(self, seed: int | None) -> AgentsTurn:
        """Begin an episode."""
        observations = of_reset(self._env.reset(seed=seed))
        return AgentsTurn(observations, list(observations))

    def step(self, actions: Mapping[Any, Any]) -> AgentsTurn:
        """Let those act who were shown something."""
        observations, rewards, terminated, truncated, _ = of_step(self._env.step(actions))
        return dictionary_turn(observations, rewards, terminated, truncated)

    def get_state(self) -> Any:
        """Save the environment, if it can."""
        return save_copy(self._env)

    def set_state(self, state: Any) -> None:
        """Restore it."""
        restore_copy(self._env, state)

    def close(self) -> None:
        """Close the environment, if there is anything to close."""
        close_if_it_can(self._env)


def dictionary_turn(
    observations: Mapping[Any, Any],
    rewards: Mapping[Any, Any],
    terminated: Mapping[Any, Any],
    truncated: Mapping[Any, Any],
) -> AgentsTurn:
    """Read what a step returned."""
    if ALL not in terminated:
        raise AgentsError(
            'terminated has no "__all__", so that nobody knows when an episode is over; set it in each step'
        )
    all_terminated, all_truncated = bool(terminated[ALL]), bool(truncated.get(ALL))
    return AgentsTurn(
        observations,
        list(observations),
        rewards,
        terminated,
        truncated,
        None,
        all_terminated or all_truncated,
        all_terminated,
        all_truncated,
    )


def _spaces(env: Any, kind: str, agents: Collection[Any]) -> Callable[[Any], gym.Space[Any]]:
    """Find out how the environment tells an agent's space: by a dictionary, a method, or one for all."""
    by_agent = getattr(env, f"{kind}_spaces", None)
    space = getattr(env, f"{kind}_space", None)
    if not by_agent and isinstance(space, gym.spaces.Dict) and set(agents) <= set(space.spaces):
        by_agent = space.spaces
    if by_agent:
        missing = [agent for agent in agents if agent not in by_agent]
        if missing:
            raise ValueError(f"{kind}_spaces has nothing for agent {missing[0]!r}; give each agent its space")
        spaces = dict(by_agent.items())
        return lambda agent: spaces[agent]
    if callable(space):
        return space  # type: ignore[no-any-return]
    if isinstance(space, gym.Space):
        return lambda _: space
    raise ValueError(f"{kind}_spaces is {by_agent!r}; give a dictionary with the space of each agent")
