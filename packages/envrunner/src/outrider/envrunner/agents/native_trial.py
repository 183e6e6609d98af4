"""Tries one step of a native vector of environments for several agents before anything else starts.

Axes: E = environment copies, A = agent slots, G = slots of a group, K = entries of a sparse list.
"""

# ruff: noqa: ANN401 - whatever a vector returns

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from outrider import wire
from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep, MultiAgentVector
from outrider.envrunner.environments.spaces import column_reader, space_from_gymnasium
from outrider.envrunner.environments.trial_step import allowed_action, one_line


class _MisshapenError(ValueError):
    """Raised where arrays are not what `MultiAgentStep` says; the sentence is complete."""


def try_native(vector: MultiAgentVector, name: str) -> None:
    """Reset and step once. Raises ValueError in one sentence where that fails or no runner can record it."""
    doing = "reset"
    try:
        _require_slots(vector)
        step = vector.reset(range(vector.num_envs))
        _require_shapes(vector, step)
        _require_no_ends(step)
        doing, acted = "step", np.array(step.acting)
        step = vector.step(_actions(vector, step))
        _require_shapes(vector, step)
        _require_ends(vector, step, acted)
    except Exception as error:
        why = str(error) if isinstance(error, _MisshapenError) else one_line(error)
        raise ValueError(f"environment {name} failed at its first {doing}: {why}") from error


def _require_slots(vector: MultiAgentVector) -> None:
    """Refuse agents without a name of their own, slots in no group or in two, and states of other shapes."""
    agents = list(vector.agents)
    if not agents or len(set(agents)) < len(agents) or not all(isinstance(agent, str) for agent in agents):
        raise _MisshapenError(f"agents is {agents}; give each agent a name of its own, as text")
    slots = [np.asarray(group.slots).tolist() for group in vector.groups]
    is_ascending = all(each == sorted(each) for each in slots)
    if not is_ascending or sorted(itertools.chain(*slots)) != list(range(len(agents))):
        raise _MisshapenError(
            f"the slots of groups are {slots}; put each of 0 to {len(agents) - 1} into one group, ascending"
        )
    state: object = vector.state_space
    if state is not None and not (isinstance(state, gym.spaces.Box) and len(state.shape) == 1):
        raise _MisshapenError(f"state_space is {state}; give a Box of one axis [D], or None")


def _require_shapes(vector: MultiAgentVector, step: Any) -> None:
    """Compare all arrays with what `MultiAgentStep` says."""
    if not isinstance(step, MultiAgentStep):
        raise _MisshapenError(f"it returned a {type(step).__name__}; return a MultiAgentStep")
    num_envs, num_groups = vector.num_envs, len(vector.groups)
    by_agent = (num_envs, len(vector.agents))
    for field in ("acting", "terminated", "truncated"):
        _require(getattr(step, field), field, by_agent, "[E, A]", np.bool_)
    _require(step.rewards, "rewards", by_agent, "[E, A]", np.float32)
    _require(step.over, "over", (num_envs,), "[E]", np.bool_)
    by_group: Mapping[str, Any] = {"observations": step.observations, "last": step.last}
    for field, given in by_group.items():
        if not isinstance(given, Sequence) or len(given) != num_groups:
            raise _MisshapenError(f"{field} is not a list with one entry for each of {num_groups} groups")
    for index, (group, shown, last) in enumerate(
        zip(vector.groups, step.observations, step.last, strict=True)
    ):
        space = space_from_gymnasium(group.observation_space)
        what = f"observations of group {index}"
        _require_columns(shown, what, space, (num_envs, len(group.slots)), "[E, G, ...]")
        num_cut = int(np.count_nonzero(step.truncated[:, group.slots]))
        if len(last.environments) != num_cut or len(last.members) != num_cut:
            raise _MisshapenError(
                f"last of group {index} names {len(last.environments)} agents and {num_cut} of them are "
                "truncated; say what each of these observed last"
            )
        if num_cut:
            _require_columns(last.observations, f"last {what}", space, (num_cut,), "[K, ...]")
    if vector.state_space is not None:
        size = vector.state_space.shape
        _require(step.states, "states", (num_envs, *size), "[E, D]", np.float32)
        if step.over.any():
            _require(step.last_states, "last_states", (int(step.over.sum()), *size), "[K, D]", np.float32)


def _require_columns(columns: Any, what: str, space: wire.Space, shape: tuple[int, ...], axes: str) -> None:
    leaves = wire.leaves(space)
    if set(columns) != set(leaves):
        raise _MisshapenError(
            f"{what} have the leaf paths {sorted(columns)}, and those of the space are {sorted(leaves)}"
        )
    for path, leaf in leaves.items():
        where = f"{what} at {path!r}" if path else what
        _require(columns[path], where, (*shape, *wire.leaf_shape(leaf)), axes, np.float32)


def _require(array: Any, what: str, shape: tuple[int, ...], axes: str, dtype: type[np.generic]) -> None:
    """Compare an array with a shape, and see that it is of numbers, or of flags."""
    if np.shape(array) != shape or not isinstance(array, np.ndarray):
        raise _MisshapenError(f"{what} have shape {np.shape(array)}; return an array {axes}, here {shape}")
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise _MisshapenError(f"{what} have dtype {array.dtype}; return {np.dtype(dtype)} or what becomes it")


def _require_no_ends(step: MultiAgentStep) -> None:
    if step.terminated.any() or step.truncated.any() or step.over.any():
        raise _MisshapenError("terminated, truncated or over is set, and nothing has ended; clear them")


def _require_ends(vector: MultiAgentVector, step: MultiAgentStep, acted: NDArray[np.bool_]) -> None:
    """Refuse an episode that is over and has left somebody in it."""
    forgotten = acted & step.over[:, None] & ~(step.terminated | step.truncated)
    for _, slot in zip(*forgotten.nonzero(), strict=True):
        raise _MisshapenError(
            f"the episode is over and agent {vector.agents[slot]!r} is neither terminated nor truncated; "
            "flag all who take part"
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
