"""The rules that every fragment keeps, whoever made it. Axes: N = rows, S = streams, M = next rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire.episode_statistics_codec import check_episode_statistics
from outrider.wire.fragment import Columns, Fragment, Streams
from outrider.wire.sampling_statistics_codec import check_sampling_statistics

_BOOL, _INT32, _INT64, _FLOAT32 = map(np.dtype, ("?", "i4", "i8", "f4"))


def check_fragment(fragment: Fragment) -> None:
    """Raise ValueError with the first rule of `Fragment` that this one breaks.

    Reads the per-row flags, not the observations: about 10 ns per row.
    """
    num_rows = _length("rewards", fragment.rewards)
    _check_streams(fragment.streams, num_rows)
    _check_columns("observations", fragment.observations, num_rows)
    _check_columns("actions", fragment.actions, num_rows)
    _expect("rewards", fragment.rewards, _FLOAT32, (num_rows,))
    _expect("terminated", fragment.terminated, _BOOL, (num_rows,))
    _expect("truncated", fragment.truncated, _BOOL, (num_rows,))
    _expect("action_log_probs", fragment.action_log_probs, _FLOAT32, (num_rows,))
    _check_next_observations(fragment)
    parameters = fragment.action_parameters
    if parameters is not None:
        if parameters.ndim != 2:
            raise ValueError(f"action_parameters has shape {parameters.shape}; it is [N, k]")
        _expect("action_parameters", parameters, _FLOAT32, (num_rows, parameters.shape[1]))
    _check_policy_version(fragment.policy_version, num_rows)
    check_episode_statistics(fragment.episodes)
    check_sampling_statistics(fragment.statistics)


def _check_streams(streams: Streams, num_rows: int) -> None:
    num_streams = _length("streams.lengths", streams.lengths)
    _expect("streams.lengths", streams.lengths, _INT64, (num_streams,))
    for name in ("policy", "environment", "agent"):
        array = getattr(streams, name)
        _expect(f"streams.{name}", array, _INT32, (num_streams,))
        if num_streams and np.minimum.reduce(array) < 0:
            raise ValueError(f"streams.{name} has {array.min()}; it counts from 0")
    lengths, policy = streams.lengths, streams.policy
    if num_streams and not 1 <= np.minimum.reduce(lengths) <= np.maximum.reduce(lengths) <= num_rows:
        raise ValueError(
            f"streams of {lengths.min()} to {lengths.max()} rows among {num_rows}; "
            "a stream has at least 1 row: leave out those without"
        )
    if np.add.reduce(lengths) != num_rows:
        raise ValueError(f"streams.lengths sum to {lengths.sum()} and there are {num_rows} rewards")
    num_changes = np.count_nonzero(policy[1:] != policy[:-1])
    if num_changes and num_changes >= len(np.unique(policy)):
        raise ValueError("streams.policy comes back to an earlier policy; sort streams by policy")
    _check_columns("streams.state", streams.state, num_streams)


def _check_next_observations(fragment: Fragment) -> None:
    next_rows = fragment.next_rows
    _expect("next_rows", next_rows, _INT64, (_length("next_rows", next_rows),))
    cut_N = fragment.truncated.copy()
    cut_N[np.cumsum(fragment.streams.lengths) - 1] = True
    expected = np.flatnonzero(cut_N & ~fragment.terminated)
    if len(next_rows) != len(expected) or (next_rows != expected).any():
        wrong = np.setxor1d(next_rows, expected)
        which = f"row {wrong[0]} is wrongly there or missing" if len(wrong) else "they are not in order"
        raise ValueError(
            f"next_rows has {len(next_rows)} rows where {len(expected)} are due, and {which}; they are, "
            "ascending, the rows that did not terminate and were truncated or end a stream"
        )
    _check_columns("next_observations", fragment.next_observations, len(next_rows))
    if _form(fragment.next_observations) != _form(fragment.observations):
        raise ValueError(
            f"next_observations {_form(fragment.next_observations)} differ from observations "
            f"{_form(fragment.observations)}; paths, dtypes and shapes of a row are the same"
        )


def _check_policy_version(version: NDArray[np.int64], num_rows: int) -> None:
    if version.shape not in {(1,), (num_rows,)}:
        raise ValueError(f"policy_version has shape {version.shape}; it is [1] or [{num_rows}]")
    _expect("policy_version", version, _INT64, version.shape)
    if version.size and np.minimum.reduce(version) < 0:
        raise ValueError(f"policy_version has {version.min()}; versions count from 0")


def _check_columns(name: str, columns: Columns, num_rows: int) -> None:
    for path, column in columns.items():
        if column.ndim < 1 or len(column) != num_rows:
            raise ValueError(f"{name} {path!r} has shape {column.shape}; its first axis is {num_rows}")


def _form(columns: Columns) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    return {path: (column.dtype, column.shape[1:]) for path, column in columns.items()}


def _length(name: str, array: NDArray[Any]) -> int:
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; it has one axis")
    return len(array)


def _expect(name: str, array: NDArray[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype:
        raise ValueError(f"{name} is {array.dtype}; it is {dtype}")
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; it is {shape}")
