"""One copy of an environment for several agents, as every adapter shows it: what happened, by agent.

Adapters translate PettingZoo's two interfaces, dictionaries with "__all__" and independent copies of an
environment of one agent into this shape, and nothing else. What follows from it (who takes part, what an
end means, when the next episode begins) is said once, in `agents_in_slots.py`.
"""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium as gym


@dataclass(slots=True)
class AgentsTurn:
    """What a copy shows after a reset or a step, by the environment's own names of agents."""

    observations: Mapping[Any, Any]
    """Of all who act next, and of those who are cut off; others are ignored."""
    acting: Collection[Any]
    """Who acts next. Whoever ends in this step does not, even if named here."""
    rewards: Mapping[Any, Any] = field(default_factory=dict)
    terminated: Mapping[Any, Any] = field(default_factory=dict)
    truncated: Mapping[Any, Any] = field(default_factory=dict)
    present: Collection[Any] | None = None
    """Who is still in the game, where the environment says so: an agent that took part and is neither here
    nor flagged has an end that was forgotten."""
    over: bool = False
    """Whether the episode of the environment has ended."""
    all_terminated: bool = False
    """Whether its end terminates those who have no flag of their own."""
    all_truncated: bool = False
    """Whether its end cuts them off."""


class AgentsCopy(Protocol):
    """An adapter around one environment."""

    agents: Sequence[Any]
    """The environment's names of all agents that may ever take part."""
    state_space: gym.spaces.Box | None
    """The space of `state`; None where the environment has none, or nobody wants to know."""

    def observation_space(self, agent: Any) -> gym.Space[Any]:
        """What an agent sees."""
        ...

    def action_space(self, agent: Any) -> gym.Space[Any]:
        """What an agent does."""
        ...

    def reset(self, seed: int | None) -> AgentsTurn:
        """Begin an episode; without a seed, the environment goes on with its random numbers."""
        ...

    def step(self, actions: Mapping[Any, Any]) -> AgentsTurn:
        """Do the actions of those who act."""
        ...

    def state(self) -> Any:
        """Return the global state as it is now."""
        ...

    def get_state(self) -> Any:
        """Return a tree to continue from; None where the environment cannot tell one."""
        ...

    def set_state(self, state: Any) -> None:
        """Continue from what `get_state` returned."""
        ...

    def close(self) -> None:
        """Close the environment."""
        ...
