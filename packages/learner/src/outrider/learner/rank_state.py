"""One state for a group of ranks: what all have alike once, and of each other rank what it has alone.

    rank 0's state   {"module": ..., "optimizer": ..., "generator": ...}
    the group's      {..., "other_ranks": [{"generator": ...}, ...]}

A learner alone goes on from a group's state and a group from that of one learner or of fewer ranks: ranks
of which nothing is there begin like rank 0. Free of torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from outrider.learner.learner import StateTree

OTHER_RANKS = "other_ranks"


def digests(state: StateTree) -> dict[str, str]:
    """Return a text for each entry of the tree, equal for equal values."""
    return {name: _digest(value) for name, value in state.items()}


def own_part(state: StateTree, of_rank_0: Mapping[str, str]) -> StateTree:
    """Return the entries that rank 0, whose digests are given, has otherwise."""
    return {name: value for name, value in state.items() if of_rank_0.get(name) != _digest(value)}


def join_ranks(of_rank_0: StateTree, own_parts: Sequence[StateTree]) -> StateTree:
    """Return the group's state."""
    return of_rank_0 | {OTHER_RANKS: list(own_parts)} if own_parts else of_rank_0


def part_for(state: StateTree, rank: int) -> StateTree:
    """Return what differs for a rank from the entries that all ranks get."""
    parts = state.get(OTHER_RANKS, [])
    part: StateTree = parts[rank - 1] if 0 < rank <= len(parts) else {}
    return part


def for_all(state: StateTree) -> StateTree:
    """Return the entries that all ranks get."""
    return {name: value for name, value in state.items() if name != OTHER_RANKS}


def copied(tree: Any) -> Any:  # noqa: ANN401 - a tree, or what hangs on it
    """Return a tree whose arrays are this process's own."""
    if isinstance(tree, Mapping):
        return {name: copied(child) for name, child in tree.items()}
    if isinstance(tree, list):
        return [copied(child) for child in tree]
    return np.array(tree) if isinstance(tree, np.ndarray) else tree


def _digest(value: Any) -> str:  # noqa: ANN401 - a tree, or what hangs on it
    digest = hashlib.blake2b(digest_size=16)
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: hashlib.blake2b, value: Any) -> None:  # noqa: ANN401 - a tree, or what hangs on it
    if isinstance(value, Mapping):
        for name in value:
            digest.update(f"{{{name!r}:".encode())
            _feed(digest, value[name])
    elif isinstance(value, list):
        digest.update(f"[{len(value)}".encode())
        for child in value:
            _feed(digest, child)
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
    else:
        digest.update(repr(value).encode())
