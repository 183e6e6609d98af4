"""Keeps what agents observed last that were cut off. Axes: K = what is kept in a step, E = copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import LastObservations
from outrider.envrunner.agents.slot_groups import SlotGroups
from outrider.wire import Columns

Indices = NDArray[np.intp]


class KeptObservations:
    """The last observations of a fragment, by group of agents."""

    def __init__(self, slots: SlotGroups, num_columns: int) -> None:
        """Keep nothing yet, of agents that have `num_columns` cells each."""
        self._slots = slots
        self._num_columns = num_columns
        groups = slots.groups
        self._cells: list[list[Indices]] = [[] for _ in groups]
        self._states: list[list[Indices]] = [[] for _ in groups]
        self._columns: list[list[Columns]] = [[] for _ in groups]

    def keep(self, number: int, last: Sequence[LastObservations], last_state_E: Indices) -> None:
        """Keep a copy of what was observed last in step `number`.

        `last_state_E` says which global state was the last of each copy's episode.
        """
        for index, (group, one) in enumerate(zip(self._slots.groups, last, strict=True)):
            if len(one.environments):
                slots = one.environments * self._slots.num_agents + group.slots[one.members]
                self._cells[index].append(slots * self._num_columns + (number + 1))
                self._states[index].append(last_state_E[one.environments])
                self._columns[index].append(
                    {path: np.array(column) for path, column in one.observations.items()}
                )

    def has(self, cells: Indices) -> NDArray[np.bool_]:
        """Return in which of these cells an observation was kept, of whatever group."""
        return np.isin(cells, np.concatenate([cells[:0], *(each for kept in self._cells for each in kept)]))

    def places(self, group: int, cells: Indices) -> Indices:
        """Return which of a group's observations were kept in these cells."""
        kept = np.concatenate(self._cells[group])
        order = np.argsort(kept)
        places: Indices = order[np.searchsorted(kept, cells, sorter=order)]
        return places

    def observations(self, group: int, path: str) -> NDArray[Any]:
        """Return all that was kept of a group, at one leaf path: [K, ...]."""
        return np.concatenate([columns[path] for columns in self._columns[group]])

    def states(self, group: int) -> Indices:
        """Return the numbers of the global states that belong to them."""
        return np.concatenate(self._states[group])
