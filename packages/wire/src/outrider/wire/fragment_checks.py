"""The rules that every fragment keeps, whoever made it. Axes: N = rows, S = streams, M = next rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire.episode_statistics_codec import check_episode_statistics
from outrider.wire.fragment import Columns, Fragment, SamplingStatistics, Streams, all_parts
from outrider.wire.sampling_statistics_codec import check_sampling_statistics

_BOOL, _INT32, _INT64, _FLOAT32 = map(np.dtype, ("?", "i4", "i8", "f4"))


def check_fragment(fragment: Fragment) -> None:
    """Raise ValueError with the first rule of `Fragment` that this one or one of its others breaks.

    Reads the per-row flags, not the observations: about 10 ns per row.
    """
    _check_part(fragment)
    if fragment.others:
        _check_others(fragment)


def _check_part(fragment: Fragment) -> None:
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
    _check_critic_states(fragment)
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
    num_changes = np.count_nonzero(policy[1:] != policy[:-1]) if num_streams > 1 else 0
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


def _check_critic_states(fragment: Fragment) -> None:
    states, rows, next_rows = fragment.critic_states, fragment.critic_rows, fragment.next_critic_rows
    if not states and rows is None and next_rows is None:
        return
    if not states or rows is None or next_rows is None:
        raise ValueError(
            "of critic_states, critic_rows and next_critic_rows only some are there; give all or none"
        )
    first = next(iter(states.values()))
    num_states = len(first) if first.ndim else 0
    _check_columns("critic_states", states, num_states)
    _check_critic_rows("critic_rows", rows, fragment.num_rows, num_states)
    _check_critic_rows("next_critic_rows", next_rows, len(fragment.next_rows), num_states)


def _check_critic_rows(name: str, rows: NDArray[np.int64], size: int, num_states: int) -> None:
    _expect(name, rows, _INT64, (size,))
    if size and not 0 <= rows.min() <= rows.max() < num_states:
        raise ValueError(
            f"{name} has {rows.min()} to {rows.max()}; they number {num_states} critic_states from 0"
        )


def _check_others(fragment: Fragment) -> None:
    for place, other in enumerate(fragment.others):
        try:
            _check_other(other)
        except ValueError as error:
            raise ValueError(f"others[{place}]: {error}") from error
    policy = np.concatenate([np.unique(part.streams.policy) for part in all_parts(fragment)])
    number, count = np.unique(policy, return_counts=True)
    if len(number) < len(policy):
        raise ValueError(
            f"policy {number[count > 1][0]} has streams here and among the others, or in two of them; "
            "a policy has one architecture"
        )


def _check_other(other: Fragment) -> None:
    if other.others:
        raise ValueError("it has others itself; give all of them to the outermost fragment")
    _check_part(other)
    if not other.num_rows:
        raise ValueError("it has no rows; leave out architectures that did not act")
    if len(other.episodes.lengths) or other.statistics != SamplingStatistics():
        raise ValueError(
            "it has episodes of environments or sampling statistics, which are of all architectures; "
            "give them to the outermost fragment"
        )


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
