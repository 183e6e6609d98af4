"""Columns of one stack's rows, written one after the other as agents act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.head_sampling import action_dtype
from outrider.wire import ActionHead, Space, TensorSpec, leaf_dtype, leaf_shape, leaves

Indices = NDArray[np.intp]


class StackRows:
    """Memory for rows, kept from fragment to fragment; what fragments hold are copies."""

    def __init__(
        self,
        observation_space: Space,
        action_heads: Sequence[ActionHead],
        state_spec: Mapping[str, TensorSpec],
    ) -> None:
        """Reserve nothing yet."""
        self.observations = {
            path: np.empty((0, *leaf_shape(leaf)), leaf_dtype(leaf))
            for path, leaf in leaves(observation_space).items()
        }
        self.actions = {head.path: np.empty((0, *head.shape), action_dtype(head)) for head in action_heads}
        self.parameters = np.empty((0, max(head.stop for head in action_heads)), np.float32)
        self.state = {name: np.empty((0, *spec.shape), spec.dtype) for name, spec in state_spec.items()}
        self.num_rows = 0
        self._blocks: list[tuple[Indices, list[int]]] = []
        """Whose rows were opened, and in which steps after each other."""

    def reserve(self, number: int, slots: Indices) -> slice:
        """Return where the rows of `slots` in step `number` are written, which is -1 before the first."""
        if self._blocks and self._blocks[-1][0] is slots:
            self._blocks[-1][1].append(number)
        else:
            self._blocks.append((slots, [number]))
        start, self.num_rows = self.num_rows, self.num_rows + len(slots)
        if self.num_rows > len(self.parameters):
            size = max(2 * len(self.parameters), self.num_rows)
            for columns in (self.observations, self.actions, self.state):
                for name, column in columns.items():
                    columns[name] = _grown(column, size, start)
            self.parameters = _grown(self.parameters, size, start)
        return slice(start, self.num_rows)

    def cells(self, num_columns: int) -> Indices:
        """Return slot * `num_columns` + step + 1 of all rows."""
        cells = [
            (slots * num_columns + np.array(numbers)[:, None] + 1).ravel() for slots, numbers in self._blocks
        ]
        return np.concatenate(cells) if cells else np.zeros(0, np.intp)

    def keep_only(self, rows: Indices, slots: Indices) -> None:
        """Move some rows, those of `slots`, to the beginning, and forget the others."""
        for columns in (self.observations, self.actions, self.state):
            for column in columns.values():
                column[: len(rows)] = column[rows]
        self.parameters[: len(rows)] = self.parameters[rows]
        self._blocks = [(slots, [-1])]
        self.num_rows = len(rows)

    def rows(self, rows: Indices) -> dict[str, Any]:
        """Return a copy of some rows, as a tree."""
        return {
            "observations": {path: column[rows] for path, column in self.observations.items()},
            "actions": {path: column[rows] for path, column in self.actions.items()},
            "state": {name: column[rows] for name, column in self.state.items()},
            "parameters": self.parameters[rows],
        }

    def set_rows(self, tree: Mapping[str, Any], slots: Indices) -> None:
        """Hold what `rows` returned, of these slots, and nothing else."""
        self.num_rows = 0
        self._blocks = []
        places = self.reserve(-1, slots)
        self.parameters[places] = tree["parameters"]
        for columns, saved in (
            (self.observations, tree["observations"]),
            (self.actions, tree["actions"]),
            (self.state, tree["state"]),
        ):
            for name, column in columns.items():
                column[places] = saved[name]


def _grown(column: NDArray[Any], size: int, used: int) -> NDArray[Any]:
    larger = np.empty((size, *column.shape[1:]), column.dtype)
    larger[:used] = column[:used]
    return larger
