"""Makes environments for several agents, and says what is wrong with settings that make none."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import cast

import gymnasium as gym
from gymnasium.envs.registration import VectorizeMode

from outrider.envrunner.agents.adapters import adapt, of_one_agent
from outrider.envrunner.agents.agent_slots import group_agents
from outrider.envrunner.agents.agents_copy import AgentsCopy
from outrider.envrunner.agents.described_agents import described_agents
from outrider.envrunner.agents.independent_agents import IndependentAgents
from outrider.envrunner.agents.independent_vector import IndependentVector
from outrider.envrunner.agents.multi_agent_trial import try_agents
from outrider.envrunner.agents.multi_agent_vector import AgentGroup, MultiAgentVector
from outrider.envrunner.agents.native_trial import try_native
from outrider.envrunner.agents.native_vector import NativeVector
from outrider.envrunner.agents.sync_agents import SyncAgents
from outrider.envrunner.environments.closing import close_all
from outrider.envrunner.environments.creator import (
    apply_wrapper,
    call_creator,
    call_vector_creator,
    load_entry_point,
)
from outrider.envrunner.environments.environment import (
    EnvironmentSettings,
    creator_of,
    make_environment,
    make_native_vector,
    refuse_wrappers,
    spec_of,
)
from outrider.envrunner.environments.environment_id import find_spec
from outrider.envrunner.environments.environment_kind import SeveralAgentsError, is_vector_for_several
from outrider.envrunner.environments.sync_vector import OnFailure
from outrider.envrunner.environments.trial_step import try_step
from outrider.envrunner.settings import EnvRunnerSettings


def make_multi_agent_vector(
    environment: EnvironmentSettings,
    settings: EnvRunnerSettings,
    *,
    num_envs: int,
    num_agents: int | None,
    on_failure: OnFailure,
    with_states: bool = True,
) -> MultiAgentVector:
    """Make `num_envs` copies in the vectorize mode of the settings.

    With `num_agents`, each is so many independent copies of an environment of one agent. SYNC and ASYNC
    replace a copy that fails and say so to `on_failure`; errors of a native vector environment pass to the
    caller. The global state, where there is one, is not asked for without `with_states`. Raises ValueError
    where the environment cannot be made.
    """
    if settings.gym_env_vectorize_mode is VectorizeMode.VECTOR_ENTRY_POINT:
        native = _make_native(environment, num_envs, num_agents)
        return native if num_agents is not None else NativeVector(native, environment.name)
    make = [functools.partial(make_copy, environment, num_agents, with_states=with_states)] * num_envs
    if settings.gym_env_vectorize_mode is VectorizeMode.ASYNC:
        from outrider.envrunner.agents.async_agents import AsyncAgents

        timeout_s, spec = settings.env_step_timeout_s, spec_of(environment)
        return AsyncAgents(make, on_failure=on_failure, timeout_s=timeout_s, spec=spec)
    return SyncAgents(make, on_failure=on_failure)


def multi_agent_spaces(
    environment: EnvironmentSettings,
    settings: EnvRunnerSettings,
    num_agents: int | None,
    *,
    is_central: bool | None = None,
) -> tuple[Sequence[str], Sequence[AgentGroup], gym.spaces.Box | None]:
    """Return the agents, the groups with equal spaces, and the space of the global state if there is one.

    This makes an environment, tries a reset and a step of it, and closes it, so that what does not work
    fails here, once, before anything else starts. Where only farms have the environment, it is as the
    settings describe it. A global state is not looked at where critics are known not to be central, and
    has to be a Box where they are; that of a native vector has to be one always. Raises ValueError in one
    sentence.
    """
    if environment.env is None:
        return described_agents(environment, num_agents)
    if settings.gym_env_vectorize_mode is VectorizeMode.VECTOR_ENTRY_POINT:
        vector = _make_native(environment, 1, num_agents)
        try:
            if num_agents is None:
                try_native(vector, environment.name)
        finally:
            close_all(vector)
        return vector.agents, vector.groups, vector.state_space
    if num_agents is not None:
        return _independent_spaces(environment, num_agents)
    copy = make_copy(environment, num_agents, with_states=is_central is not False)
    try:
        if is_central:
            _require_box(copy.state_space, environment.name)
        slots = try_agents(copy, environment.name)
    finally:
        close_all(copy)
    return slots.agents, slots.groups, slots.state_space


def _independent_spaces(
    environment: EnvironmentSettings, num_agents: int
) -> tuple[Sequence[str], Sequence[AgentGroup], None]:
    """Try one of many equal environments, and speak for all."""
    try:
        env = make_environment(environment, checked=True)
    except SeveralAgentsError:
        raise _not_of_one(environment, num_agents) from None
    try:
        try_step(env, environment.name)
    finally:
        close_all(env)
    names = [str(index) for index in range(num_agents)]
    return names, group_agents([(env.observation_space, env.action_space)] * num_agents), None


def make_copy(
    environment: EnvironmentSettings, num_agents: int | None, *, with_states: bool = True
) -> AgentsCopy:
    """Make one environment with its adapter.

    What is registered goes without the wrappers that Gymnasium puts around environments of one agent.
    """
    if num_agents is not None:
        make_one = functools.partial(make_environment, environment, checked=False)
        try:
            return IndependentAgents(make_one, num_agents)
        except SeveralAgentsError:
            raise _not_of_one(environment, num_agents) from None
    name, env_config = environment.name, environment.env_config
    make = creator_of(environment)
    if make is None:
        spec = find_spec(name)
        if spec.entry_point is None:
            raise ValueError(
                f"environment {name} has only a vector entry point; use vectorize mode VECTOR_ENTRY_POINT"
            )
        make = functools.partial(load_entry_point(spec, spec.entry_point), **spec.kwargs)
    env = call_creator(make, name, env_config)
    for wrapper in environment.wrappers:
        env = apply_wrapper(wrapper, env)
    copy = adapt(env, name)
    if not with_states:
        copy.state_space = None
    return copy


def _make_native(environment: EnvironmentSettings, num_envs: int, num_agents: int | None) -> MultiAgentVector:
    """Make the environment's own implementation of many copies."""
    if num_agents is not None:
        try:
            return IndependentVector(make_native_vector(environment, num_envs * num_agents), num_agents)
        except SeveralAgentsError:
            raise _not_of_one(environment, num_agents) from None
    name, make = environment.name, creator_of(environment)
    refuse_wrappers(environment)
    if make is None:
        spec = find_spec(name)
        if spec.vector_entry_point is None:
            raise ValueError(
                f"environment {name} has no vector entry point; use vectorize mode SYNC or ASYNC, or "
                "register it with vector_entry_point="
            )
        make = functools.partial(load_entry_point(spec, spec.vector_entry_point), **spec.kwargs)
    vector = call_vector_creator(make, name, environment.env_config, num_envs=num_envs)
    if isinstance(vector, gym.vector.VectorEnv):
        raise of_one_agent(name)
    if not is_vector_for_several(vector):
        raise ValueError(
            f"{name} returned {vector!r}; in vectorize mode VECTOR_ENTRY_POINT it must return a "
            "MultiAgentVector, and use SYNC or ASYNC for single environments"
        )
    if vector.num_envs != num_envs:
        vector.close()
        raise ValueError(
            f"{name} returned {vector.num_envs} copies where num_envs is {num_envs}; make as many as "
            "num_envs says"
        )
    return cast("MultiAgentVector", vector)


def _require_box(state_space: object, name: str) -> None:
    """Refuse a global state that central critics would pass over without a word."""
    if state_space is not None and not isinstance(state_space, gym.spaces.Box):
        raise ValueError(
            f"environment {name} has state_space {state_space}, and critic='central' sees a Box; return one "
            "array from state() and give its Box, or set state_space=None, and critics see what all agents do"
        )


def _not_of_one(environment: EnvironmentSettings, num_agents: int) -> ValueError:
    return ValueError(
        f"num_agents={num_agents} asks for copies of an environment of one agent, and {environment.name} has "
        "several agents; leave num_agents out"
    )
