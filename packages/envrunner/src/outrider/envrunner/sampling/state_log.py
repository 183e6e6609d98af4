"""Keeps what central critics see: the global states of environments. Axes: D = size of a state."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
States = NDArray[np.float32]


class StateLog:
    """States, each once, numbered in the order in which they were added."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._blocks: list[States] = []
        self._size = 0

    def add(self, states: States | None) -> int:
        """Copy states [n, D] and return the number of the first."""
        first = self._size
        if states is not None:
            self._blocks.append(np.array(states, np.float32))
            self._size += len(states)
        return first

    def all(self) -> States | None:
        """Return all states by number; None where there are none."""
        return np.concatenate(self._blocks) if self._blocks else None

    def keep_only(self, numbers: Indices) -> None:
        """Number these from 0, and forget the others."""
        states = self.all()
        self._blocks, self._size = [], 0
        if states is not None:
            self.add(states[numbers])
