"""Looks at the steps of a native vector, which is the user's own: arrays of other shapes would be stretched.

Shapes and types alone, which costs microseconds a step; what is wrong is found out once something is.

Axes: E = environment copies, A = agent slots, G = slots of a group, K = entries of a sparse list.
"""

# ruff: noqa: ANN401 - whatever a vector returns

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider import wire
from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.agents.multi_agent_vector import (
    AgentGroup,
    LastObservations,
    MultiAgentStep,
    MultiAgentVector,
)
from outrider.envrunner.environments.environment_state import StatefulEnvironment
from outrider.envrunner.environments.spaces import space_from_gymnasium

Shapes = Mapping[str, tuple[int, ...]]
_FLAGS = np.dtype(np.bool_)
_NUMBERS = frozenset("fiub")


class NativeVector:
    """A `MultiAgentVector` around the user's own. What it returns is what runners can record."""

    def __init__(self, vector: MultiAgentVector, name: str) -> None:
        """Wrap a vector of an environment that is called `name`."""
        self._vector, self._name = vector, name
        self.num_envs, self.agents, self.groups = vector.num_envs, vector.agents, vector.groups
        self.state_space = vector.state_space
        self._by_agent = (self.num_envs, len(self.agents))
        self._leaves: list[Shapes] = [
            {
                path: wire.leaf_shape(leaf)
                for path, leaf in wire.leaves(space_from_gymnasium(group.observation_space)).items()
            }
            for group in self.groups
        ]
        self._sizes = [(self.num_envs, len(group.slots)) for group in self.groups]
        self._num_steps = 0

    @property
    def vector(self) -> MultiAgentVector:
        """The vector that is wrapped."""
        return self._vector

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        """Begin new episodes in all copies. Raises AgentsError for a step that is none."""
        return self._looked_at(self._vector.reset(seeds), "in a reset")

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        """Step all copies. Raises AgentsError for a step that is none."""
        self._num_steps += 1
        return self._looked_at(self._vector.step(actions), f"in step {self._num_steps}")

    def get_state(self) -> Any:
        """Return a tree to continue from; None where the vector cannot tell its own."""
        return self._vector.get_state() if isinstance(self._vector, StatefulEnvironment) else None

    def set_state(self, state: Any) -> None:
        """Continue from what `get_state` returned."""
        assert isinstance(self._vector, StatefulEnvironment)
        self._vector.set_state(state)

    def close(self) -> None:
        """Close all copies."""
        self._vector.close()

    def _looked_at(self, step: Any, doing: str) -> MultiAgentStep:
        if not self._fits(step):
            try:
                require_shapes(self._vector, step)
            except AgentsError as error:
                raise AgentsError(f"environment {self._name}, {doing}: {error}") from None
        fitting: MultiAgentStep = step
        return fitting

    def _fits(self, step: Any) -> bool:
        """Tell whether all shapes and types are as expected; False where that takes a closer look."""
        try:
            return (
                type(step) is MultiAgentStep
                and step.failed is None
                and step.acting.shape == step.terminated.shape == step.truncated.shape == self._by_agent
                and step.acting.dtype == step.terminated.dtype == step.truncated.dtype == _FLAGS
                and _is_array(step.rewards, self._by_agent)
                and step.over.shape == self._by_agent[:1]
                and step.over.dtype == _FLAGS
                and len(step.observations) == len(step.last) == len(self._leaves)
                and all(map(_have_shapes, step.observations, self._leaves, self._sizes))
                and (self.state_space is None or self._has_states(step, self.state_space.shape))
                and (not np.count_nonzero(step.truncated) or self._has_last(step))
            )
        except (AttributeError, TypeError, LookupError):
            return False

    def _has_states(self, step: MultiAgentStep, size: tuple[int, ...]) -> bool:
        num_over = int(np.count_nonzero(step.over))
        return _is_array(step.states, (self.num_envs, *size)) and (
            not num_over or _is_array(step.last_states, (num_over, *size))
        )

    def _has_last(self, step: MultiAgentStep) -> bool:
        for group, last, leaves in zip(self.groups, step.last, self._leaves, strict=True):
            num_cut = int(np.count_nonzero(step.truncated[:, group.slots]))
            if not last.environments.shape == last.members.shape == (num_cut,):
                return False
            if num_cut and not (
                _are_places(last.environments, self.num_envs)
                and _are_places(last.members, len(group.slots))
                and _have_shapes(last.observations, leaves, (num_cut,))
            ):
                return False
        return True


def _is_array(array: Any, shape: tuple[int, ...]) -> bool:
    return array.shape == shape and array.dtype.kind in _NUMBERS


def _have_shapes(columns: Any, leaves: Shapes, size: tuple[int, ...]) -> bool:
    return len(columns) == len(leaves) and all(
        _is_array(columns[path], (*size, *shape)) for path, shape in leaves.items()
    )


def _are_places(places: NDArray[Any], number: int) -> bool:
    return places.dtype.kind in "iu" and places.min() >= 0 and places.max() < number


def require_shapes(vector: MultiAgentVector, step: Any) -> None:
    """Compare all arrays with what `MultiAgentStep` says. Raises AgentsError for the first that differs."""
    if not isinstance(step, MultiAgentStep):
        raise AgentsError(f"it returned a {type(step).__name__}; return a MultiAgentStep")
    num_envs = vector.num_envs
    by_agent = (num_envs, len(vector.agents))
    for field in ("acting", "terminated", "truncated"):
        _require(getattr(step, field), field, by_agent, "[E, A]", np.bool_)
    _require(step.rewards, "rewards", by_agent, "[E, A]", np.float32)
    _require(step.over, "over", (num_envs,), "[E]", np.bool_)
    if step.failed is not None:
        _require(step.failed, "failed", (num_envs,), "[E]", np.bool_)
    _require_groups(vector, step)
    if vector.state_space is not None:
        size = vector.state_space.shape
        _require(step.states, "states", (num_envs, *size), "[E, D]", np.float32)
        if step.over.any():
            _require(step.last_states, "last_states", (int(step.over.sum()), *size), "[K, D]", np.float32)


def _require_groups(vector: MultiAgentVector, step: MultiAgentStep) -> None:
    num_groups = len(vector.groups)
    by_group: Mapping[str, Any] = {"observations": step.observations, "last": step.last}
    for field, given in by_group.items():
        is_some = isinstance(given, Sequence)
        if not is_some or len(given) != num_groups:
            what = f"{type(given).__name__}{f' of {len(given)}' if is_some else ''}"
            raise AgentsError(
                f"{field} is a {what}; return a list with one entry for each of {num_groups} groups"
            )
    for index, (group, shown) in enumerate(zip(vector.groups, step.observations, strict=True)):
        space = space_from_gymnasium(group.observation_space)
        what = f"observations of group {index}"
        _require_columns(shown, what, space, (vector.num_envs, len(group.slots)), "[E, G, ...]")
        _require_last(step, index, group, space, vector.agents)


def _require_last(
    step: MultiAgentStep, index: int, group: AgentGroup, space: wire.Space, agents: Sequence[str]
) -> None:
    last: Any = step.last[index]
    num_cut = int(np.count_nonzero(step.truncated[:, group.slots]))
    if not isinstance(last, LastObservations):
        raise AgentsError(f"last of group {index} is a {type(last).__name__}; return LastObservations")
    if len(last.environments) != num_cut or len(last.members) != num_cut:
        copies, members = np.nonzero(step.truncated[:, group.slots])
        first = f", {agents[group.slots[members[0]]]!r} of copy {copies[0]} first" if num_cut else ""
        raise AgentsError(
            f"last of group {index} names {len(last.environments)} agents and {num_cut} of them are "
            f"truncated{first}; say what each of these observed last"
        )
    if num_cut:
        _require_places(last.environments, f"environments in last of group {index}", len(step.over))
        _require_places(
            last.members,
            f"members (places in the group, and not slots) in last of group {index}",
            len(group.slots),
        )
        _require_columns(
            last.observations, f"last observations of group {index}", space, (num_cut,), "[K, ...]"
        )


def _require_columns(columns: Any, what: str, space: wire.Space, shape: tuple[int, ...], axes: str) -> None:
    leaves = wire.leaves(space)
    if not isinstance(columns, Mapping):
        raise AgentsError(f"{what} are of type {type(columns).__name__}; return a dictionary by leaf path")
    if set(columns) != set(leaves):
        raise AgentsError(
            f"{what} have the leaf paths {sorted(columns)}, and those of the space are {sorted(leaves)}"
        )
    for path, leaf in leaves.items():
        where = f"{what} at {path!r}" if path else what
        _require(columns[path], where, (*shape, *wire.leaf_shape(leaf)), axes, np.float32)


def _require(array: Any, what: str, shape: tuple[int, ...], axes: str, dtype: type[np.generic]) -> None:
    """Compare an array with a shape, and see that it is of numbers, or of flags."""
    if not isinstance(array, np.ndarray):
        raise AgentsError(f"{what} are of type {type(array).__name__}; return an array {axes}, here {shape}")
    if array.shape != shape:
        raise AgentsError(f"{what} have shape {array.shape}; return an array {axes}, here {shape}")
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise AgentsError(f"{what} have dtype {array.dtype}; return {np.dtype(dtype)} or what becomes it")


def _require_places(places: Any, what: str, number: int) -> None:
    """Refuse what counts from the end in NumPy, or points at nothing."""
    if not isinstance(places, np.ndarray) or places.dtype.kind not in "iu" or places.ndim != 1:
        raise AgentsError(f"{what} are {places!r}; return an array [K] of whole numbers")
    for place in places[(places < 0) | (places >= number)]:
        raise AgentsError(f"{what} name {place}; name those from 0 to {number - 1}")
