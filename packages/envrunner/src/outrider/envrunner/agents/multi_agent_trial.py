"""Tries one step of an environment for several agents before anything else starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym

from outrider.envrunner.agents.agent_slots import ActionArrays, AgentSlots, SlotArrays, slots_of
from outrider.envrunner.agents.agents_copy import AgentsCopy, AgentsTurn
from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.agents.agents_in_slots import AgentsInSlots
from outrider.envrunner.agents.returned_by_agents import bad_observation, bad_rewards
from outrider.envrunner.environments.trial_step import allowed_action, one_line, require_number


def try_agents(copy: AgentsCopy, name: str) -> AgentSlots:
    """Reset and step once, and return who takes part.

    Raises ValueError in one sentence where that fails or no runner can record it.
    """
    watched = _Watched(copy)
    try:
        slots = slots_of(watched)
        agents = AgentsInSlots(watched, slots, SlotArrays(slots, 1), 0)
        agents.reset(0)
        watched.require_known_numbers()
        watched.doing = "step"
        nothing = ActionArrays(slots, 1).columns
        agents.step([{path: column[0] for path, column in columns.items()} for columns in nothing])
        watched.require_known_numbers()
    except Exception as error:
        why = str(error) if isinstance(error, AgentsError) else one_line(error)
        raise ValueError(f"environment {name} failed at its first {watched.doing}: {why}") from error
    return slots


class _Watched:
    """An `AgentsCopy` that looks at what comes, and does what the observations allow."""

    def __init__(self, copy: AgentsCopy) -> None:
        self._copy = copy
        self._seen: Mapping[Any, Any] = {}
        self._acting: list[Any] = []
        self.doing = "reset"
        self.agents: Sequence[Any] = copy.agents
        self.state_space = copy.state_space
        self.observation_space: Callable[[Any], gym.Space[Any]] = copy.observation_space
        self.action_space: Callable[[Any], gym.Space[Any]] = copy.action_space
        self.state: Callable[[], Any] = copy.state
        self.get_state: Callable[[], Any] = copy.get_state
        self.set_state: Callable[[Any], None] = copy.set_state
        self.close: Callable[[], None] = copy.close

    def reset(self, seed: int | None) -> AgentsTurn:
        return self._look(self._copy.reset(seed))

    def step(self, actions: Mapping[Any, Any]) -> AgentsTurn:
        done = {}
        for agent in actions:
            space = self.action_space(agent)
            space.seed(0)
            done[agent] = allowed_action(space, self._seen[agent])
        return self._look(self._copy.step(done))

    def require_known_numbers(self) -> None:
        """Refuse numbers that a Discrete space does not have: one-hot, they would be nothing at all."""
        for agent in self._acting:
            seen, space = self._seen[agent], self.observation_space(agent)
            if _is_unknown(seen, space):
                raise bad_observation(agent, seen, space)

    def _look(self, turn: AgentsTurn) -> AgentsTurn:
        self._seen = turn.observations
        ended = {agent for flags in (turn.terminated, turn.truncated) for agent in flags if flags[agent]}
        self._acting = [] if turn.over else [agent for agent in turn.acting if agent not in ended]
        for reward in turn.rewards.values():
            try:
                require_number(reward)
            except ValueError:
                raise bad_rewards(turn.rewards) from None
        return turn


def _is_unknown(seen: Any, space: gym.Space[Any]) -> bool:  # noqa: ANN401 - values of spaces
    if isinstance(space, gym.spaces.Dict):
        return any(_is_unknown(seen[key], part) for key, part in space.spaces.items())
    if isinstance(space, gym.spaces.Tuple):
        return any(_is_unknown(one, part) for one, part in zip(seen, space.spaces, strict=True))
    return isinstance(space, gym.spaces.Discrete) and not 0 <= int(seen) - space.start < space.n
