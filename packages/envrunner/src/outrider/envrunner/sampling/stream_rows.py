"""Brings the committed rows of a fragment into the order of streams.

Axes: N = rows of a stack, M = rows with a sparse next observation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.sampling.folded_rows import FoldedRows
from outrider.envrunner.sampling.stream_log import StreamLog

Indices = NDArray[np.intp]
_FEW = 1 << 16
"""Keys of 16 bits are sorted by counting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamRows:
    """The committed rows of one stack, stream after stream."""

    lengths: NDArray[np.int64]
    """Rows of each stream."""
    policy: NDArray[np.int32]
    """Of each stream."""
    slots: Indices
    """Of each stream."""
    rows: Indices
    """[N] which of the folded rows."""
    next_rows: Indices
    """[M] those that the next row does not follow and that did not terminate."""


def stream_rows(rows: FoldedRows, log: StreamLog, num_stacks: int) -> list[StreamRows]:
    """Sort the rows of each stack: streams by policy and slot, rows by time."""
    ordered = np.flatnonzero(rows.is_committed)
    stream = log.of(rows.slots[ordered], rows.steps[ordered])
    num_rows = np.bincount(stream, minlength=len(log.slot))
    present = np.flatnonzero(num_rows)
    keys = (log.slot, log.policy, log.stack)
    present = present[np.lexsort((present, *(key[present] for key in keys)))]
    if len(log.slot) > rows.num_slots or (np.diff(present) < 0).any():
        rank = np.zeros(len(num_rows), np.uint16 if len(present) <= _FEW else np.int64)
        rank[present] = np.arange(len(present))
        ordered = ordered[np.argsort(rank[stream], kind="stable")]
    stacks, lengths = log.stack[present], num_rows[present]
    ends = np.append(0, np.cumsum(lengths))
    parts = []
    for stack in range(num_stacks):
        first, stop = np.searchsorted(stacks, [stack, stack + 1])
        part = ordered[ends[first] : ends[stop]]
        is_next = rows.truncated[part]
        is_next[ends[first + 1 : stop + 1] - 1 - ends[first]] = True
        parts.append(
            StreamRows(
                lengths=lengths[first:stop].astype(np.int64),
                policy=log.policy[present[first:stop]],
                slots=log.slot[present[first:stop]],
                rows=part,
                next_rows=np.flatnonzero(is_next & ~rows.terminated[part]),
            )
        )
    return parts
