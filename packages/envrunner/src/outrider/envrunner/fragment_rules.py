"""What fragments of a run look like, to check those that strangers hand in. Axes: N = rows, S = streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.fragment_buffer import FragmentBuffer, FragmentLayout
from outrider.envrunner.step_rules import check_range
from outrider.wire import ActionHead, Columns, Fragment, Limits, Space, TensorSpec, leaves

_NUMBERS_BYTES = 64
"""Of a row, at most: reward, flags, log-probability, version, number where it is cut, and its stream's."""
_Form: TypeAlias = Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]


class FragmentRules:
    """What a runner was told to sample. What holds for every fragment was checked when it was decoded."""

    def __init__(
        self,
        *,
        observation_space: Space,
        action_heads: tuple[ActionHead, ...],
        state: Mapping[str, TensorSpec],
        num_steps: int,
        num_environments: int,
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
        self._num_environments = num_environments
        self._num_steps = num_steps
        self._num_rows = num_steps * num_environments

    def limits(self, limits: Limits) -> Limits:
        """Return what need not be exceeded by what was asked for, however much else may come."""
        forms = (*self._observations.values(), *self._observations.values(), *self._actions.values())
        row_bytes = _NUMBERS_BYTES + sum(dtype.itemsize * prod(shape) for dtype, shape in forms)
        row_bytes += 4 * (self._num_parameters or 0)
        stream_bytes = sum(dtype.itemsize * prod(shape) for dtype, shape in self._state.values())
        most_bytes = self._num_rows * row_bytes + self._num_environments * stream_bytes
        return replace(
            limits,
            max_message_bytes=min(limits.max_message_bytes, most_bytes + 2 * limits.max_header_bytes),
            max_decompressed_bytes=min(limits.max_decompressed_bytes, most_bytes + 1),
            max_rows=min(limits.max_rows, self._num_rows),
            max_streams=min(limits.max_streams, self._num_environments),
            max_episodes=min(limits.max_episodes, self._num_rows),
        )

    def check(self, fragment: Fragment, *, runner: int) -> None:
        """Raise ValueError with the first rule that a fragment of this runner of the run breaks."""
        _check_one_agent(fragment)
        self._check_counts(fragment)
        _check_form("observations", fragment.observations, self._observations)
        _check_form("actions", fragment.actions, self._actions)
        _check_form("the recurrent state", fragment.streams.state, self._state)
        self._check_streams(fragment, runner * self._num_environments)
        for name, columns in (
            ("observations", fragment.observations),
            ("next_observations", fragment.next_observations),
            ("the recurrent state", fragment.streams.state),
            ("actions", fragment.actions),
        ):
            for path, column in columns.items():
                _check_finite(_at(name, path), column)
        for path, leaf in self._leaves.items():
            check_range(_at("observations", path), fragment.observations[path], leaf)
            check_range(_at("next_observations", path), fragment.next_observations[path], leaf)
        _check_finite("rewards", fragment.rewards)
        _check_finite("action_log_probs", fragment.action_log_probs)
        _check_finite("the returns of episodes", fragment.episodes.returns)
        self._check_actions(fragment.actions)
        self._check_parameters(fragment.action_parameters)

    def _check_counts(self, fragment: Fragment) -> None:
        if fragment.num_rows > self._num_rows:
            raise ValueError(f"it has {fragment.num_rows} rows and at most {self._num_rows} were asked for")
        if not fragment.num_rows and self._num_steps > 1:  # one step may have been that of a reset
            raise ValueError(f"it has no rows, and {self._num_rows} were asked for")
        lengths_S = fragment.streams.lengths
        if len(lengths_S) > self._num_environments or lengths_S.max(initial=0) > self._num_steps:
            raise ValueError(
                f"it has {len(lengths_S)} streams of up to {lengths_S.max()} rows; one for each of "
                f"{self._num_environments} environment copies, of at most {self._num_steps}, were asked for"
            )
        if len(fragment.episodes.lengths) > fragment.num_rows:
            raise ValueError(
                f"{len(fragment.episodes.lengths)} episodes ended in {fragment.num_rows} rows; each needs one"
            )

    def _check_streams(self, fragment: Fragment, first: int) -> None:
        environment_S = fragment.streams.environment
        last = first + self._num_environments - 1
        if environment_S.size and not first <= environment_S.min() <= environment_S.max() <= last:
            raise ValueError(
                f"it has environment copies {environment_S.min()} to {environment_S.max()}, and the runner's "
                f"are {first} to {last}: its number times num_environments, and those after it"
            )
        if fragment.streams.policy.any():
            raise ValueError(f"it has policy {fragment.streams.policy.max()}, and 0 is the only one")

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


def _check_one_agent(fragment: Fragment) -> None:
    if fragment.others or fragment.critic_states or fragment.episodes.agents is not None:
        raise ValueError(
            "it has other architectures, critic states or episodes of single agents, and the run has one "
            "policy for one agent; start this run with several agents, or sample for one"
        )


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


def _check_finite(name: str, column: NDArray[Any]) -> None:
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


def check_versions(fragment: Fragment, oldest: int, newest: int) -> int:
    """Return the newest version of the weights that acted; raise ValueError unless all are in this range."""
    first, last = int(fragment.policy_version.min()), int(fragment.policy_version.max())
    if not oldest <= first <= last <= newest:
        given = f"only {newest}" if oldest == newest else f"{oldest} to {newest}"
        raise ValueError(f"versions {first} to {last} of the weights acted, and {given} may")
    return last
