"""Finds the adapter for an environment of several agents by what it can do."""

# ruff: noqa: ANN401 - environments of other libraries have no common type

from __future__ import annotations

from typing import Any

import gymnasium as gym

from outrider.envrunner.agents.agents_copy import AgentsCopy
from outrider.envrunner.agents.dictionary_agents import DictionaryAgents
from outrider.envrunner.agents.parallel_agents import ParallelAgents
from outrider.envrunner.agents.turn_based_agents import TurnBasedAgents
from outrider.envrunner.environments.environment_kind import can, is_for_several, is_vector_for_several


def adapt(env: Any, name: str) -> AgentsCopy:
    """Put the adapter around an environment that fits. Raises ValueError where none does."""
    if is_for_several(env):
        if can(env, "last", "observe"):
            return TurnBasedAgents(env)
        if not isinstance(env, gym.Env) and can(env, "observation_space", "action_space"):
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
