"""Finds the adapter for an environment of several agents by what it can do.

The libraries that such environments come from are no dependencies of this one, so there is no class to ask
for; this is the one place that looks at attributes instead.
"""

# ruff: noqa: ANN401 - environments of other libraries have no common type

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from outrider.envrunner.agents.agents_copy import AgentsCopy
from outrider.envrunner.agents.dictionary_agents import DictionaryAgents
from outrider.envrunner.agents.parallel_agents import ParallelAgents
from outrider.envrunner.agents.turn_based_agents import TurnBasedAgents


class SeveralAgentsError(ValueError):
    """Raised where an environment for several agents is asked to be one for one agent."""

    def __init__(self, name: str) -> None:
        """Name the environment."""
        super().__init__(
            f"{name} is an environment for several agents; say which policies act in it: --policies shared, "
            'or per_agent, or names; in Python config.multi_agent(policies="shared")'
        )


def is_for_several(env: Any) -> bool:
    """Tell whether this is one environment for several agents, of a kind that has an adapter."""
    inner = env.unwrapped if isinstance(env, gym.Env) else env
    names_agents = _has(inner, "possible_agents") or isinstance(
        getattr(inner, "observation_spaces", None), Mapping
    )
    return names_agents and _can(inner, "reset", "step")


def adapt(env: Any, name: str) -> AgentsCopy:
    """Put the adapter around an environment that fits. Raises ValueError where none does."""
    if is_for_several(env):
        if _can(env, "last", "observe"):
            return TurnBasedAgents(env)
        if not isinstance(env, gym.Env) and _can(env, "observation_space", "action_space"):
            return ParallelAgents(env)
        return DictionaryAgents(env)
    if is_vector_for_several(env) or isinstance(env, gym.vector.VectorEnv):
        raise ValueError(f"{name} returned a vector of environments; use vectorize mode VECTOR_ENTRY_POINT")
    if isinstance(env, gym.Env):
        raise of_one_agent(name)
    raise ValueError(
        f"{name} returned {env!r}; it must return a PettingZoo environment, or one whose reset and step "
        'return dictionaries keyed by agent, with possible_agents and "__all__"'
    )


def of_one_agent(name: str) -> ValueError:
    """Say that an environment is for one agent where there are policies by name."""
    return ValueError(
        f"{name} is an environment for one agent; ask for independent copies of it by --num-agents N, in "
        "Python config.multi_agent(num_agents=N), or leave out the policies"
    )


def is_vector_for_several(vector: Any) -> bool:
    """Tell whether this looks like a `MultiAgentVector`."""
    return _has(vector, "agents") and _has(vector, "groups") and _can(vector, "reset", "step")


def _has(env: Any, attribute: str) -> bool:
    return getattr(env, attribute, None) is not None


def _can(env: Any, *methods: str) -> bool:
    return all(callable(getattr(env, method, None)) for method in methods)
