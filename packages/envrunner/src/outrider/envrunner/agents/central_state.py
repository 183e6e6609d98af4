"""Makes a global state out of the observations of all agents, for environments that have none.

    state    [ observation of agent 0 | of agent 1 | ... | 1 where agent 0 takes part | agent 1 | ... ]

Numbers as they are observed; of a Discrete leaf its number. Zeros stand where an agent takes no part. One
that takes part and does not act is seen as it last was.

Axes: E = environment copies, A = agent slots, G = slots of a group, D = numbers of the state.
"""

# ruff: noqa: ANN401 - trees have no type

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from outrider import wire
from outrider.envrunner.agents.multi_agent_vector import AgentGroup, MultiAgentStep, MultiAgentVector
from outrider.envrunner.environments.environment_state import StatefulEnvironment
from outrider.envrunner.environments.spaces import space_from_gymnasium


def central_state(vector: MultiAgentVector) -> MultiAgentVector:
    """Return a vector whose steps have `states`: the same one where its environment has a global state."""
    return vector if vector.state_space is not None else CentralState(vector)


def central_space(agents: Sequence[str], groups: Sequence[AgentGroup]) -> gym.spaces.Box:
    """Return the space of the states that `central_state` makes."""
    size = sum(len(group.slots) * _width(group) for group in groups) + len(agents)
    return gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)


class CentralState:
    """A `MultiAgentVector` around another one."""

    def __init__(self, vector: MultiAgentVector) -> None:
        """Wrap a vector whose environment has no global state."""
        self._vector = vector
        self.num_envs, self.agents, self.groups = vector.num_envs, vector.agents, vector.groups
        self.state_space = central_space(vector.agents, vector.groups)
        self._states = np.zeros((self.num_envs, *self.state_space.shape), np.float32)
        self._parts: list[tuple[NDArray[np.intp], NDArray[np.float32]]] = []
        """For each group its slots, and where its observations go: [E, G, width], a view."""
        start = 0
        for group in vector.groups:
            shape = (len(group.slots), _width(group))
            part = self._states[:, start : start + math.prod(shape)].reshape(self.num_envs, *shape)
            self._parts.append((group.slots, part))
            start += math.prod(shape)
        self._flags = self._states[:, start:]

    @property
    def vector(self) -> MultiAgentVector:
        """The vector that is wrapped."""
        return self._vector

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        """Begin new episodes in all copies."""
        self._states.fill(0)
        step = self._vector.reset(seeds)
        self._see(step)
        return replace(step, states=self._states)

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        """Step all copies."""
        step = self._vector.step(actions)
        last_states = self._end(step)
        self._see(step)
        return replace(step, states=self._states, last_states=last_states)

    def get_state(self) -> Any:
        """Return a tree to continue from; None where the vector cannot tell its own."""
        vector = self._vector
        saved = vector.get_state() if isinstance(vector, StatefulEnvironment) else None
        return None if saved is None else {"vector": saved, "states": self._states.copy()}

    def set_state(self, state: Any) -> None:
        """Continue from what `get_state` returned."""
        assert isinstance(self._vector, StatefulEnvironment)
        self._vector.set_state(state["vector"])
        self._states[...] = state["states"]

    def close(self) -> None:
        """Close all copies."""
        self._vector.close()

    def _end(self, step: MultiAgentStep) -> NDArray[np.float32] | None:
        """Take those out who ended, and return the states at the end of the episodes that are over.

        Who was cut off is in these, as it would have gone on; who terminated is not.
        """
        last_states = None
        if step.over.any():
            self._take_out(step.terminated)
            is_cut = step.truncated.any()  # otherwise `last` may be of a step before
            for (_, part), last in zip(self._parts, step.last, strict=True):
                if is_cut and len(last.environments):
                    part[last.environments, last.members] = _flatten(last.observations)
            last_states = self._states[step.over]
        self._take_out(step.terminated | step.truncated)
        if step.failed is not None:
            self._states[step.failed] = 0
        return last_states

    def _take_out(self, who: NDArray[np.bool_]) -> None:
        if who.any():
            self._flags[who] = 0
            for slots, part in self._parts:
                part[who[:, slots]] = 0

    def _see(self, step: MultiAgentStep) -> None:
        """Write what those see who act next."""
        self._flags[step.acting] = 1
        everybody = step.acting.all()
        for (slots, part), columns in zip(self._parts, step.observations, strict=True):
            if everybody:
                _write(part, columns)
            else:
                acting = step.acting[:, slots]
                part[acting] = _flatten({path: column[acting] for path, column in columns.items()})


def _width(group: AgentGroup) -> int:
    leaves = wire.leaves(space_from_gymnasium(group.observation_space)).values()
    return sum(math.prod(wire.leaf_shape(leaf)) for leaf in leaves)


def _flatten(columns: wire.Columns) -> NDArray[np.float32]:
    """Put the leaves of each observation behind each other."""
    flat = [np.reshape(column, (len(column), math.prod(column.shape[1:]))) for column in columns.values()]
    return np.concatenate(flat, axis=-1, dtype=np.float32, casting="unsafe")


def _write(part: NDArray[np.float32], columns: wire.Columns) -> None:
    start = 0
    for column in columns.values():
        flat = column.reshape(*column.shape[:2], -1)
        part[..., start : start + flat.shape[-1]] = flat
        start += flat.shape[-1]
