"""Takes the actions of all slots apart into what each agent does. Axis: G = slots of a group."""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import AgentGroup
from outrider.envrunner.environments.spaces import column_writer

Actions = Sequence[Mapping[str, NDArray[Any]]]
"""{leaf path: [G, ...]} for each group."""


class ActionsByAgent:
    """Knows which agent is where in the columns of which group."""

    def __init__(self, names: Sequence[Any], groups: Sequence[AgentGroup]) -> None:
        """Take the environment's names of all agents, by slot."""
        self._num_agents = len(names)
        self._places = {
            names[slot]: (index, member)
            for index, group in enumerate(groups)
            for member, slot in enumerate(group.slots)
        }
        self._groups = [
            ([names[slot] for slot in group.slots], _Writer(group.action_space)) for group in groups
        ]

    def of(self, acting: Sequence[Any], actions: Actions) -> dict[Any, Any]:
        """Return what each agent does that is to act, in the order in which they are named."""
        if len(acting) == self._num_agents:
            everybody: dict[Any, Any] = {}
            for (names, write), columns in zip(self._groups, actions, strict=True):
                everybody.update(zip(names, write.all(columns), strict=True))
            return everybody if len(self._groups) == 1 else {name: everybody[name] for name in acting}
        places, groups = self._places, self._groups
        found = {}
        for name in acting:
            group, member = places[name]
            found[name] = groups[group][1].one(actions[group], member)
        return found


class _Writer:
    """Makes actions of one space out of columns."""

    def __init__(self, space: gym.Space[Any]) -> None:
        self._write = column_writer(space)
        self._is_plain = not isinstance(space, gym.spaces.Dict | gym.spaces.Tuple)
        self._is_number = isinstance(space, gym.spaces.Discrete)
        self._dtype = space.dtype

    def all(self, columns: Mapping[str, NDArray[Any]]) -> Sequence[Any]:
        if self._is_plain:
            return list(np.asarray(columns[""], self._dtype))
        size = len(next(iter(columns.values())))
        return [self.one(columns, member) for member in range(size)]

    def one(self, columns: Mapping[str, NDArray[Any]], member: int) -> Any:
        if self._is_plain and columns[""].dtype == self._dtype:
            return columns[""][member]
        return self._write({path: column[member] for path, column in columns.items()})
