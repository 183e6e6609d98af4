"""Tries one step of a native vector of environments for several agents before anything else starts.

Axes: E = environment copies, A = agent slots, G = slots of a group.
"""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from outrider import wire
from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep, MultiAgentVector
from outrider.envrunner.agents.native_vector import require_shapes
from outrider.envrunner.environments.spaces import column_reader, space_from_gymnasium
from outrider.envrunner.environments.trial_step import allowed_action, one_line


def try_native(vector: MultiAgentVector, name: str) -> None:
    """Reset and step once. Raises ValueError in one sentence where that fails or no runner can record it."""
    doing = "reset"
    try:
        _require_slots(vector)
        step = vector.reset(range(vector.num_envs))
        require_shapes(vector, step)
        _require_no_ends(step)
        _require_known_numbers(vector, step)
        doing, acted = "step", np.array(step.acting)
        step = vector.step(_actions(vector, step))
        require_shapes(vector, step)
        _require_ends(vector, step, acted)
        _require_known_numbers(vector, step)
    except Exception as error:
        why = str(error) if isinstance(error, AgentsError) else one_line(error)
        raise ValueError(f"environment {name} failed at its first {doing}: {why}") from error


def _require_slots(vector: MultiAgentVector) -> None:
    """Refuse agents without a name of their own, slots in no group or in two, and states of other shapes."""
    agents = list(vector.agents)
    if not agents or len(set(agents)) < len(agents) or not all(isinstance(agent, str) for agent in agents):
        raise AgentsError(f"agents is {agents}; give each agent a name of its own, as text")
    slots = [np.asarray(group.slots).tolist() for group in vector.groups]
    is_ascending = all(each == sorted(each) for each in slots)
    if not is_ascending or sorted(itertools.chain(*slots)) != list(range(len(agents))):
        raise AgentsError(
            f"the slots of groups are {slots}; put each of 0 to {len(agents) - 1} into one group, ascending"
        )
    state: object = vector.state_space
    if state is not None and not (isinstance(state, gym.spaces.Box) and len(state.shape) == 1):
        raise AgentsError(f"state_space is {state}; give a Box of one axis [D], or None")


def _require_no_ends(step: MultiAgentStep) -> None:
    if step.terminated.any() or step.truncated.any() or step.over.any():
        raise AgentsError("terminated, truncated or over is set, and nothing has ended; clear them")


def _require_ends(vector: MultiAgentVector, step: MultiAgentStep, acted: NDArray[np.bool_]) -> None:
    """Refuse an episode that is over and has left somebody in it."""
    forgotten = acted & step.over[:, None] & ~(step.terminated | step.truncated)
    for _, slot in zip(*forgotten.nonzero(), strict=True):
        raise AgentsError(
            f"the episode is over and agent {vector.agents[slot]!r} is neither terminated nor truncated; "
            "flag all who take part"
        )


def _require_known_numbers(vector: MultiAgentVector, step: MultiAgentStep) -> None:
    """Refuse numbers that a Discrete space does not have: one-hot, they would be nothing at all."""
    for group, shown in zip(vector.groups, step.observations, strict=True):
        for path, leaf in wire.leaves(space_from_gymnasium(group.observation_space)).items():
            if not isinstance(leaf, wire.DiscreteSpace):
                continue
            numbers = shown[path] - leaf.start
            unknown = step.acting[:, group.slots] & ((numbers < 0) | (numbers >= leaf.num_values))
            for copy, member in zip(*unknown.nonzero(), strict=True):
                agent, number = vector.agents[group.slots[member]], shown[path][copy, member]
                raise AgentsError(
                    f"agent {agent!r} is shown {number}{f' at {path!r}' if path else ''} and its "
                    f"observation_space is {group.observation_space}; show it what that says"
                )


def _actions(vector: MultiAgentVector, step: MultiAgentStep) -> list[dict[str, NDArray[Any]]]:
    """Let everybody do what its observation allows."""
    actions = []
    for group, shown in zip(vector.groups, step.observations, strict=True):
        space, described = group.action_space, space_from_gymnasium(group.action_space)
        space.seed(0)
        read, shape = column_reader(described), (vector.num_envs, len(group.slots))
        columns: dict[str, NDArray[Any]] = {
            path: np.zeros((*shape, *wire.leaf_shape(leaf)), wire.leaf_dtype(leaf))
            for path, leaf in wire.leaves(described).items()
        }
        for place in np.ndindex(shape):
            seen = {path.removeprefix("/"): column[place] for path, column in shown.items()}
            for path, leaf in read(allowed_action(space, seen)).items():
                columns[path][place] = leaf
        actions.append(columns)
    return actions
