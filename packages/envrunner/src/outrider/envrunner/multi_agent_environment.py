"""Makes environments for several agents from their settings, and says what is wrong with those that are none."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import VectorizeMode

from outrider.envrunner.adapters import adapt
from outrider.envrunner.agent_slots import slots_of
from outrider.envrunner.agents_copy import AgentsCopy
from outrider.envrunner.environment import EnvironmentSettings, make_for_several, make_environment
from outrider.envrunner.independent_agents import IndependentAgents
from outrider.envrunner.multi_agent_vector import AgentGroup, MultiAgentVector
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.envrunner.sync_agents import SyncAgents
from outrider.envrunner.sync_vector import OnFailure


def make_multi_agent_vector(
    environment: EnvironmentSettings,
    settings: EnvRunnerSettings,
    *,
    num_envs: int,
    num_agents: int | None,
    on_failure: OnFailure,
) -> MultiAgentVector:
    """Make `num_envs` copies in the vectorize mode of the settings.

    With `num_agents`, each is so many independent copies of an environment of one agent. SYNC and ASYNC
    replace a copy that fails and say so to `on_failure`; errors of a native vector environment pass to the
    caller. Raises ValueError where the environment cannot be made.
    """
    make = functools.partial(make_copy, environment, num_agents)
    return SyncAgents([make] * num_envs, on_failure=on_failure)


def multi_agent_spaces(
    environment: EnvironmentSettings, settings: EnvRunnerSettings, num_agents: int | None
) -> tuple[Sequence[str], Sequence[AgentGroup], gym.spaces.Box | None]:
    """Return the agents, the groups with equal spaces, and the space of the global state if there is one."""
    copy = make_copy(environment, num_agents)
    slots = slots_of(copy)
    copy.close()
    return slots.agents, slots.groups, slots.state_space


def make_copy(environment: EnvironmentSettings, num_agents: int | None) -> AgentsCopy:
    """Make one environment with its adapter."""
    if num_agents is not None:
        make: Any = functools.partial(make_environment, environment, checked=False)
        return IndependentAgents(make, num_agents)
    return adapt(make_for_several(environment), environment.name)
