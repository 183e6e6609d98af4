"""What the steps of environments elsewhere must look like, before a policy acts on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire import (
    DiscreteSpace,
    LeafSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    Space,
    leaf_dtype,
    leaf_shape,
    leaves,
)
from outrider.wire.session import Step


class StepRules:
    """Refuses what would be learned from and never happened: other leaves, NaN, too few copies.

    That a step agrees with itself (rewards are finite, `ended` names those that ended, and what really
    followed them is there) was checked when it was read: `outrider.wire.decode_act_request`.
    """

    def __init__(self, observation_space: Space, num_envs: int) -> None:
        """Say what `num_envs` copies show."""
        self._leaves = leaves(observation_space)
        self._num_envs = num_envs

    def check_first(self, step: Step) -> None:
        """Raise ValueError in one sentence unless a stream may begin with this."""
        if len(step.rewards):
            raise ValueError(
                f"the first step has {len(step.rewards)} rewards; it follows no action, and has observations "
                "only"
            )
        self._check_observations("observations", step.observations, self._num_envs)

    def check(self, step: Step) -> None:
        """Raise ValueError in one sentence unless this may follow an action."""
        if len(step.rewards) != self._num_envs:
            raise ValueError(
                f"rewards has {len(step.rewards)} entries for {self._num_envs} environment copies; send one "
                "for each"
            )
        self._check_observations("observations", step.observations, self._num_envs)
        if len(step.ended):
            self._check_observations("final_observations", step.final_observations, len(step.ended))

    def _check_observations(self, what: str, columns: Mapping[str, NDArray[Any]], num_rows: int) -> None:
        if columns.keys() != self._leaves.keys():
            raise ValueError(
                f"{what} has the leaves {sorted(columns)}; the environment was announced with "
                f"{sorted(self._leaves)}"
            )
        for path, leaf in self._leaves.items():
            where = f"{what} at {path!r}" if path else what
            column, shape, dtype = columns[path], (num_rows, *leaf_shape(leaf)), leaf_dtype(leaf)
            if column.shape != shape or column.dtype != dtype:
                raise ValueError(
                    f"{where} is {column.dtype} {column.shape}; the environment was announced with {dtype} "
                    f"{shape}"
                )
            if column.dtype.kind == "f" and not np.isfinite(column).all():
                raise ValueError(f"{where} holds NaN or infinity; observations must be finite numbers")
            check_range(where, column, leaf)


def check_range(where: str, column: NDArray[Any], leaf: LeafSpace) -> None:
    """Raise ValueError in one sentence where rows of a leaf that counts hold what it does not count to."""
    low: Any
    high: Any
    match leaf:
        case DiscreteSpace(num_values=num_values, start=start):
            low, high = start, start + num_values - 1
        case MultiDiscreteSpace(num_values=num_values_L, start=start_L):
            low, high = start_L, start_L + num_values_L - 1
        case MultiBinarySpace():
            low, high = 0, 1
        case _:
            return
    if ((column < low) | (column > high)).any():
        raise ValueError(
            f"{where} holds a value outside its space, which is {np.min(low)} to {np.max(high)}; send what "
            "the space announces"
        )
