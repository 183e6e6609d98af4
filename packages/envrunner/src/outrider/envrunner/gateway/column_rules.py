"""What columns a policy's rows have, to check those that strangers hand in. Axes: N = rows, S = streams."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.gateway.step_rules import check_range
from outrider.envrunner.sampling.fragment_buffer import FragmentBuffer, FragmentLayout
from outrider.wire import ActionHead, Columns, Fragment, Space, TensorSpec, leaves

_NUMBERS_BYTES = 64
"""Of a row, at most: reward, flags, log-probability, version, number where it is cut, and its stream's."""
_Form: TypeAlias = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]


class ColumnRules:
    """The columns that policies of one architecture fill."""

    def __init__(
        self,
        *,
        observation_space: Space,
        action_heads: tuple[ActionHead, ...],
        state: Mapping[str, TensorSpec],
        record_action_parameters: bool,
    ) -> None:
        """Expect the columns that runners of Outrider write."""
        layout = FragmentLayout(
            num_envs=0, num_steps=0, observation_space=observation_space, action_heads=action_heads
        )
        slots = FragmentBuffer(layout)
        self._leaves = leaves(observation_space)
        self._observations = {path: (each.dtype, each.shape[2:]) for path, each in slots.observations.items()}
        self._actions = {path: (each.dtype, each.shape[2:]) for path, each in slots.actions.items()}
        self._state = {name: (spec.dtype, spec.shape) for name, spec in state.items()}
        self._heads = action_heads
        self._num_parameters = slots.parameters.shape[2] if record_action_parameters else None

    @property
    def row_bytes(self) -> int:
        """Most bytes of a row."""
        forms = (*self._observations.values(), *self._observations.values(), *self._actions.values())
        row_bytes: int = sum(dtype.itemsize * prod(shape) for dtype, shape in forms)
        return _NUMBERS_BYTES + row_bytes + 4 * (self._num_parameters or 0)

    @property
    def stream_bytes(self) -> int:
        """Bytes of the recurrent state before a stream."""
        stream_bytes: int = sum(dtype.itemsize * prod(shape) for dtype, shape in self._state.values())
        return stream_bytes

    def check(self, fragment: Fragment) -> None:
        """Raise ValueError with the first rule that a column of a fragment, its others left out, breaks."""
        _check_form("observations", fragment.observations, self._observations)
        _check_form("actions", fragment.actions, self._actions)
        _check_form("the recurrent state", fragment.streams.state, self._state)
        for name, columns in (
            ("observations", fragment.observations),
            ("next_observations", fragment.next_observations),
            ("the recurrent state", fragment.streams.state),
            ("actions", fragment.actions),
        ):
            for path, column in columns.items():
                check_finite(_at(name, path), column)
        for path, leaf in self._leaves.items():
            check_range(_at("observations", path), fragment.observations[path], leaf)
            check_range(_at("next_observations", path), fragment.next_observations[path], leaf)
        check_finite("rewards", fragment.rewards)
        check_finite("action_log_probs", fragment.action_log_probs)
        check_finite("the returns of episodes", fragment.episodes.returns)
        self._check_actions(fragment.actions)
        self._check_parameters(fragment.action_parameters)

    def _check_actions(self, actions: Columns) -> None:
        for head in self._heads:
            if head.kind not in {"categorical", "bernoulli"}:
                continue
            sizes = head.sizes if head.kind == "categorical" else (2,) * len(head.sizes)
            rows = actions[head.path].reshape(-1, len(sizes))
            if rows.size and (rows.min() < 0 or (rows.max(0) >= sizes).any()):
                raise ValueError(
                    f"{_at('actions', head.path)} are {rows.min()} to {rows.max()}, and they count from 0 to "
                    f"{max(sizes) - 1}; hand in the number of the choice, not the environment's own value"
                )

    def _check_parameters(self, parameters: NDArray[np.float32] | None) -> None:
        found = None if parameters is None else parameters.shape[1]
        if found != self._num_parameters:
            raise ValueError(
                f"it has {found or 'no'} action_parameters a row and should have "
                f"{self._num_parameters or 'none'}"
            )
        # The logit of an action that is masked may be minus infinity.
        if parameters is not None and not (parameters < np.inf).all():
            raise ValueError("action_parameters are NaN or infinite")


def _check_form(name: str, columns: Columns, expected: _Form) -> None:
    if columns.keys() != expected.keys():
        raise ValueError(f"{name} are {sorted(columns)} and should be {sorted(expected)}")
    for path, (dtype, shape) in expected.items():
        column = columns[path]
        if column.dtype != dtype or column.shape[1:] != shape:
            raise ValueError(
                f"{_at(name, path)} are {column.dtype}{list(column.shape[1:])} a row and should be "
                f"{dtype}{list(shape)}"
            )


def check_finite(name: str, column: NDArray[Any]) -> None:
    """Raise ValueError for numbers that are none."""
    # The sum of finite numbers may overflow, so a sum that is not finite only says to look closer; it
    # reads the column once and writes nothing.
    if column.dtype.kind != "f" or not column.size:
        return
    with np.errstate(all="ignore"):
        if np.isfinite(column.sum()):
            return
    if not np.isfinite(column).all():
        raise ValueError(f"{name} are NaN or infinite; leave out what the environment could not say")


def _at(name: str, path: str) -> str:
    return f"{name} {path!r}" if path else name
