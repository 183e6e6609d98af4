"""The agents of an environment that only farms have, as settings describe them."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium as gym

from outrider import wire
from outrider.envrunner.agents.agent_slots import flat_state_space, group_agents
from outrider.envrunner.agents.multi_agent_vector import AgentGroup
from outrider.envrunner.environments.environment import EnvironmentSettings, given_space
from outrider.envrunner.environments.space_values import read_space_value
from outrider.envrunner.environments.spaces import space_to_gymnasium


def described_agents(
    environment: EnvironmentSettings, num_agents: int | None
) -> tuple[Sequence[str], Sequence[AgentGroup], gym.spaces.Box | None]:
    """Return the agents, the groups with equal spaces, and the space of the global state if one is given.

    With `num_agents` the spaces are those of one of so many copies, otherwise each is a Dict from agent to
    space. Raises ValueError in one sentence.
    """
    seen, done = given_space(environment, "observation_space"), given_space(environment, "action_space")
    state = _state_space(environment)
    if num_agents is not None:
        if state is not None:
            raise ValueError(
                f"state_space is given, and num_agents={num_agents} independent copies have no global state; "
                "leave one of them out"
            )
        pair = space_to_gymnasium(seen), space_to_gymnasium(done)
        return [str(index) for index in range(num_agents)], group_agents([pair] * num_agents), None
    observed, taken = _by_agent("observation_space", seen), _by_agent("action_space", done)
    if observed.keys() != taken.keys():
        alone = min(observed.keys() ^ taken.keys())
        here, there = ("observation_space", "action_space")[:: 1 if alone in observed else -1]
        raise ValueError(f"{here} names agent {alone!r} and {there} does not; name the same agents in both")
    pairs = [(space_to_gymnasium(space), space_to_gymnasium(taken[name])) for name, space in observed.items()]
    return list(observed), group_agents(pairs), state


def _by_agent(name: str, space: wire.Space) -> dict[str, wire.Space]:
    if not isinstance(space, wire.DictSpace) or not space.spaces:
        raise ValueError(
            f"env is None and there are several agents, and {name} is {space_to_gymnasium(space)}; give a "
            "Dict from agent to space, or num_agents=N where they are copies of an environment of one agent"
        )
    return dict(space.spaces)


def _state_space(environment: EnvironmentSettings) -> gym.spaces.Box | None:
    if environment.state_space is None:
        return None
    space = space_to_gymnasium(read_space_value(environment.state_space))
    flat = flat_state_space(space)
    if flat is None:
        raise ValueError(f"state_space is {space}; a global state is a Box")
    return flat
