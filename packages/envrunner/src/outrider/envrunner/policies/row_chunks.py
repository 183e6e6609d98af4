"""Cuts rows that are sorted by policy into chunks of equal length, for one dense computation.

Axes: N = rows, U = policies that act, C = chunks, R = rows of a chunk. A policy with many rows gets several
chunks where padding all others to it would cost more than its weights in several places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
_WEIGHTS_COST = 8
"""Rows of a two-layer network that can be computed while its weights are copied (18 kB, 2 us)."""
_GAIN = 0.75
"""Several chunks for a policy are made where they cost less than so much of one for each."""


@dataclass(frozen=True, slots=True)
class RowChunks:
    """Where each row is computed."""

    places: Indices
    """[C] whose weights each chunk is computed with, ascending."""
    length: int
    """R."""
    chunk: Indices
    """[N] in which chunk."""
    offset: Indices
    """[N] at which of its rows."""
    is_split: bool
    """Whether a policy has several chunks."""


def row_chunks(places: Indices, length_at_least: Callable[[int], int]) -> RowChunks:
    """Cut rows whose policies have the weights `places` [N], equal ones together; lengths are rounded up."""
    starts = np.flatnonzero(np.append(True, places[1:] != places[:-1]))
    counts = np.diff(np.append(starts, len(places)))
    longest = int(counts.max())
    length = _best_length(counts, longest)
    is_split = length < longest
    if not is_split:
        length = length_at_least(longest)
    num_chunks, order = -(-counts // length), np.argsort(places[starts])
    chunks_before = np.empty_like(starts)
    chunks_before[order] = np.cumsum(num_chunks[order]) - num_chunks[order]
    within = np.arange(len(places)) - np.repeat(starts, counts)
    return RowChunks(
        places=np.repeat(places[starts][order], num_chunks[order]),
        length=length,
        chunk=np.repeat(chunks_before, counts) + within // length,
        offset=within % length,
        is_split=is_split,
    )


def _best_length(counts: Indices, longest: int) -> int:
    """Return the cheapest of the powers of two below the longest policy, or its own length."""
    best, best_cost = longest, len(counts) * longest * _GAIN
    if len(counts) * longest <= 2 * counts.sum():
        return best
    length = 1
    while length < longest:
        cost = int((-(-counts // length)).sum()) * (length + _WEIGHTS_COST)
        if cost < best_cost:
            best, best_cost = length, cost
        length *= 2
    return best
