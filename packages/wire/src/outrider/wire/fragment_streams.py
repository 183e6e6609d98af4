"""Takes some streams of a fragment, as a learner rank does that shares it with others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from outrider.wire.fragment import Columns, Fragment, Streams


def take_streams(fragment: Fragment, first: int, stop: int) -> Fragment:
    """Return the streams `first` to `stop` - 1 as a fragment whose arrays are views of the given one's.

    Episode statistics and sampling statistics are of all streams and stay as they are. Raises
    ValueError where there are no such streams.
    """
    num_streams = len(fragment.streams.lengths)
    if not 0 <= first < stop <= num_streams:
        raise ValueError(
            f"streams {first} to {stop} of a fragment that has {num_streams}; take at least one that is there"
        )
    ends = np.cumsum(fragment.streams.lengths)
    rows = slice(int(ends[first - 1]) if first else 0, int(ends[stop - 1]))
    nexts = slice(*np.searchsorted(fragment.next_rows, (rows.start, rows.stop)).tolist())
    version = fragment.policy_version
    parameters = fragment.action_parameters
    return replace(
        fragment,
        streams=_part_of(fragment.streams, slice(first, stop)),
        observations=_each(fragment.observations, rows),
        actions=_each(fragment.actions, rows),
        rewards=fragment.rewards[rows],
        terminated=fragment.terminated[rows],
        truncated=fragment.truncated[rows],
        next_rows=fragment.next_rows[nexts] - rows.start,
        next_observations=_each(fragment.next_observations, nexts),
        action_log_probs=fragment.action_log_probs[rows],
        action_parameters=None if parameters is None else parameters[rows],
        policy_version=version if len(version) == 1 else version[rows],
    )


def _part_of(streams: Streams, part: slice) -> Streams:
    return Streams(
        lengths=streams.lengths[part],
        policy=streams.policy[part],
        environment=streams.environment[part],
        agent=streams.agent[part],
        state=_each(streams.state, part),
    )


def _each(columns: Columns, part: slice) -> Columns:
    return {path: column[part] for path, column in columns.items()}
