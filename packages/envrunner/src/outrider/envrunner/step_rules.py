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
    """Refuses what would be learned from and never happened: other shapes, NaN, ends that disagree."""

    def __init__(self, observation_space: Space, num_envs: int) -> None:
        """Say what `num_envs` copies show."""
        self._leaves = leaves(observation_space)
        self._num_envs = num_envs

    def check_first(self, step: Step) -> None:
        """Raise ValueError in one sentence unless a stream may begin with this."""
        for name in ("rewards", "terminated", "truncated", "ended"):
            if len(getattr(step, name)):
                raise ValueError(
                    f"the first step has {len(getattr(step, name))} {name}; it follows no action, and has "
                    "observations only"
                )
        self._check_observations("observations", step.observations, self._num_envs)

    def check(self, step: Step) -> None:
        """Raise ValueError in one sentence unless this may follow an action."""
        for name in ("rewards", "terminated", "truncated"):
            found = len(getattr(step, name))
            if found != self._num_envs:
                raise ValueError(
                    f"{name} has {found} entries for {self._num_envs} environment copies; send one for each"
                )
        finite_E = np.isfinite(step.rewards)
        if not finite_E.all():
            copy = int(np.argmin(finite_E))
            raise ValueError(
                f"the reward of copy {copy} is {float(step.rewards[copy])}; rewards must be finite numbers"
            )
        ended = np.flatnonzero(step.terminated | step.truncated)
        if not np.array_equal(step.ended, ended):
            raise ValueError(
                f"ended is {step.ended.tolist()}, and {ended.tolist()} are terminated or truncated; name "
                "exactly these copies, ascending"
            )
        self._check_observations("observations", step.observations, self._num_envs)
        if len(ended):
            self._check_observations("final_observations", step.final_observations, len(ended))

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
            _check_values(where, column, leaf)


def _check_values(where: str, column: NDArray[Any], leaf: LeafSpace) -> None:
    if column.dtype.kind == "f" and not np.isfinite(column).all():
        raise ValueError(f"{where} holds NaN or infinity; observations must be finite numbers")
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
