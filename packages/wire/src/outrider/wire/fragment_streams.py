"""Takes some streams of a fragment, as learners do that share it with others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from outrider.wire.fragment import Columns, Fragment, Streams

_Index: TypeAlias = slice | NDArray[np.int64]


def take_streams(fragment: Fragment, first: int, stop: int) -> Fragment:
    """Return the streams `first` to `stop` - 1 as a fragment whose arrays are views of the given one's.

    Episode statistics, sampling statistics and critic states are of all streams and stay as they are.
    Raises ValueError where there are no such streams, and for a fragment of several architectures.
    """
    _check_alone(fragment)
    num_streams = len(fragment.streams.lengths)
    if not 0 <= first < stop <= num_streams:
        raise ValueError(
            f"streams {first} to {stop} of a fragment that has {num_streams}; take at least one that is there"
        )
    return _neighbours(fragment, first, stop)


def take_policies(fragment: Fragment, numbers: Sequence[int] | NDArray[np.integer[Any]]) -> Fragment:
    """Return the streams of the policies with these numbers, in the order in which they lie, as a fragment.

    Its arrays are views where the streams are neighbours, and copies where they are not. It has no rows
    where none of these policies acted. Otherwise as `take_streams`.
    """
    _check_alone(fragment)
    lengths_S = fragment.streams.lengths
    taken_S = np.isin(fragment.streams.policy, np.asarray(numbers, np.int32))
    streams = np.flatnonzero(taken_S)
    if not len(streams):
        return _neighbours(fragment, 0, 0)
    first, stop = int(streams[0]), int(streams[-1]) + 1
    if stop - first == len(streams):
        return _neighbours(fragment, first, stop)
    taken_N = np.repeat(taken_S, lengths_S)
    nexts = np.flatnonzero(taken_N[fragment.next_rows])
    place_N = np.cumsum(taken_N) - 1
    return _taken(fragment, streams, np.flatnonzero(taken_N), nexts, place_N[fragment.next_rows[nexts]])


def _check_alone(fragment: Fragment) -> None:
    if fragment.others:
        raise ValueError(
            f"streams of a fragment of {1 + len(fragment.others)} architectures; "
            "take them of each of `all_parts(fragment)`, its others left out"
        )


def _neighbours(fragment: Fragment, first: int, stop: int) -> Fragment:
    ends = np.cumsum(fragment.streams.lengths)
    rows = slice(*(int(ends[place - 1]) if place else 0 for place in (first, stop)))
    nexts = slice(*np.searchsorted(fragment.next_rows, (rows.start, rows.stop)).tolist())
    return _taken(fragment, slice(first, stop), rows, nexts, fragment.next_rows[nexts] - rows.start)


def _taken(
    fragment: Fragment, streams: _Index, rows: _Index, nexts: _Index, next_rows: NDArray[np.int64]
) -> Fragment:
    version = fragment.policy_version
    return replace(
        fragment,
        streams=_part_of(fragment.streams, streams),
        observations=_each(fragment.observations, rows),
        actions=_each(fragment.actions, rows),
        rewards=fragment.rewards[rows],
        terminated=fragment.terminated[rows],
        truncated=fragment.truncated[rows],
        next_rows=next_rows,
        next_observations=_each(fragment.next_observations, nexts),
        action_log_probs=fragment.action_log_probs[rows],
        action_parameters=_if_any(fragment.action_parameters, rows),
        policy_version=version if len(version) == 1 else version[rows],
        critic_rows=_if_any(fragment.critic_rows, rows),
        next_critic_rows=_if_any(fragment.next_critic_rows, nexts),
    )


def _part_of(streams: Streams, part: _Index) -> Streams:
    return Streams(
        lengths=streams.lengths[part],
        policy=streams.policy[part],
        environment=streams.environment[part],
        agent=streams.agent[part],
        state=_each(streams.state, part),
    )


def _each(columns: Columns, part: _Index) -> Columns:
    return {path: column[part] for path, column in columns.items()}


def _if_any(array: NDArray[Any] | None, part: _Index) -> NDArray[Any] | None:
    return None if array is None else array[part]
