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


def digests(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tree with a text for each value, equal for equal values."""
    return {
        name: digests(value) if isinstance(value, Mapping) else _digest(value)
        for name, value in state.items()
    }


def own_part(state: Mapping[str, Any], of_rank_0: Mapping[str, Any]) -> StateTree:
    """Return the tree of those values that rank 0, whose digests are given, has otherwise."""
    part: StateTree = {}
    for name, value in state.items():
        theirs = of_rank_0.get(name)
        if isinstance(value, Mapping) and isinstance(theirs, Mapping):
            if own := own_part(value, theirs):
                part[name] = own
        elif theirs != _digest(value):
            part[name] = value
    return part


def join_ranks(of_rank_0: StateTree, own_parts: Sequence[StateTree]) -> StateTree:
    """Return the group's state."""
    return of_rank_0 | {OTHER_RANKS: list(own_parts)} if own_parts else of_rank_0


def part_for(state: StateTree, rank: int) -> StateTree:
    """Return, whole, those entries of which anything differs for a rank from what all ranks get."""
    parts = state.get(OTHER_RANKS, [])
    part: StateTree = parts[rank - 1] if 0 < rank <= len(parts) else {}
    return {name: _joined(state.get(name), value) for name, value in part.items()}


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


def _joined(tree: Any, part: Any) -> Any:  # noqa: ANN401 - trees, or what hangs on them
    """Return a tree in which the values of `part` stand in place of others."""
    if not (isinstance(tree, Mapping) and isinstance(part, Mapping)):
        return part
    return {**tree, **{name: _joined(tree.get(name), value) for name, value in part.items()}}


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
