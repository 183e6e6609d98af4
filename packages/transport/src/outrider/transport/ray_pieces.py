"""Weights of many policies in Ray's object store, in pieces, so that each reader fetches what it needs.

    put      policies 0 .. 63    64 .. 127    128 .. 191     an object each; what has not changed stays
    index    which policies there are, at which versions, and in which object
    read     policies 3, 70, 71  ->  the first and the second

The index is an object too, which keeps the pieces that it names: plain values, arrays and references.

    {"version": 9, "fingerprint": "..", "stacks": [["mlp", [0, 1, ...], [9, 7, ...]], ...],
     "pieces": [["mlp", 0, reference], ["mlp", 1, reference], ...]}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from outrider.transport.ray_references import (
    LOAD_TIMEOUT_S,
    Message,
    fetch_objects,
    read_weights,
    to_message,
)
from outrider.wire import Weights, WeightsStack, encode_weights

PIECE = 64
"""Numbers of policies that share an object, whether there are all of them or not. Policies of two layers
make pieces of 1 to 3 MB; a put costs 0.5 to 0.9 ms, so that 10,000 policies take 0.1 s more than as one."""
Index = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RayPolicies:
    """Weights in pieces."""

    ref: ray.ObjectRef[Index]
    """Of the index."""
    version: int
    """Version of these weights."""


@dataclass(frozen=True, slots=True)
class _Piece:
    stack: WeightsStack
    ref: ray.ObjectRef[Message]


class PolicyPieces:
    """Puts version after version, of each only what has changed. The calling process owns the objects."""

    def __init__(self) -> None:
        """Put nothing yet."""
        self._version = -1
        self._pieces: dict[tuple[str, int], _Piece] = {}

    def put(self, weights: Weights) -> RayPolicies:
        """Put those pieces that are otherwise than in the version before, and a new index."""
        if weights.version < self._version:  # of another time of the run, with versions of its own
            self._pieces = {}
        self._version = weights.version
        pieces: dict[tuple[str, int], _Piece] = {}
        for stack in weights.stacks:
            numbers = stack.policies // PIECE
            starts = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
            for start, stop in zip(starts, [*starts[1:], len(numbers)], strict=True):
                key = (stack.name, int(numbers[start]))
                part = replace(
                    stack, policies=stack.policies[start:stop], versions=stack.versions[start:stop]
                )
                before = self._pieces.get(key)
                pieces[key] = (
                    before if before and _is_same(before.stack, part) else _put(weights, part, start)
                )
        self._pieces = pieces
        index = {
            "version": weights.version,
            "fingerprint": weights.fingerprint,
            "stacks": [[stack.name, stack.policies, stack.versions] for stack in weights.stacks],
            "pieces": [[name, number, piece.ref] for (name, number), piece in pieces.items()],
        }
        return RayPolicies(ray.put(index), weights.version)


class StoredPolicies:
    """Weights in pieces, as a reader finds them. It keeps all pieces in the store as long as it lives."""

    def __init__(self, index: Index) -> None:
        """Fetch nothing yet."""
        self.version: int = index["version"]
        self._fingerprint: str = index["fingerprint"]
        self._stacks: list[tuple[str, NDArray[np.int32], NDArray[np.int64]]] = index["stacks"]
        self._pieces = {(name, number): ref for name, number, ref in index["pieces"]}

    def of(
        self, policies: NDArray[np.int32], *, since: int | None = None, timeout_s: float = LOAD_TIMEOUT_S
    ) -> Weights:
        """Return copies of the weights of these policies that changed after version `since`.

        Stacks without any are left out. Blocks until the pieces are here; raises as `RayWeights.load`.
        """
        wanted: dict[tuple[str, int], NDArray[np.int32]] = {}
        for name, numbers, versions in self._stacks:
            found = numbers[np.isin(numbers, policies) & (since is None or versions > since)]
            for number in np.unique(found // PIECE).tolist():
                wanted[name, number] = found[found // PIECE == number]
        messages = fetch_objects(
            [self._pieces[key] for key in wanted], f"version {self.version} of the weights", timeout_s
        )
        parts: dict[str, list[Weights]] = {}
        for (name, _), numbers, message in zip(wanted, wanted.values(), messages, strict=True):
            parts.setdefault(name, []).append(_rows(read_weights(message), numbers))
        joined = [_joined(each) for each in parts.values()]
        return Weights(
            version=self.version,
            fingerprint=self._fingerprint,
            tensors={name: tensor for part in joined for name, tensor in part.tensors.items()},
            stacks=tuple(part.stacks[0] for part in joined),
        )


def _put(weights: Weights, part: WeightsStack, start: int) -> _Piece:
    """Put the policies of a part of a stack, of which the first is the stack's number `start`."""
    rows = slice(start, start + len(part.policies))
    prefix = f"{part.name}/"
    piece = replace(
        weights,
        tensors={name: tensor[rows] for name, tensor in weights.tensors.items() if name.startswith(prefix)},
        stacks=(part,),
    )
    return _Piece(part, ray.put(to_message(encode_weights(piece, checksum=False))))


def _is_same(one: WeightsStack, other: WeightsStack) -> bool:
    return (
        one.fingerprint == other.fingerprint
        and np.array_equal(one.policies, other.policies)
        and np.array_equal(one.versions, other.versions)
    )


def _rows(piece: Weights, numbers: NDArray[np.int32]) -> Weights:
    """Return copies of those policies, so that nothing keeps the piece in memory."""
    (stack,) = piece.stacks
    places = np.searchsorted(stack.policies, numbers)
    return replace(
        piece,
        tensors={name: tensor[places] for name, tensor in piece.tensors.items()},
        stacks=(replace(stack, policies=stack.policies[places], versions=stack.versions[places]),),
    )


def _joined(parts: list[Weights]) -> Weights:
    first = parts[0].stacks[0]
    stack = replace(
        first,
        policies=np.concatenate([part.stacks[0].policies for part in parts]),
        versions=np.concatenate([part.stacks[0].versions for part in parts]),
    )
    tensors = {name: np.concatenate([part.tensors[name] for part in parts]) for name in parts[0].tensors}
    return replace(parts[0], tensors=tensors, stacks=(stack,))
