"""Whether processes of one or two kinds find room on the nodes of a cluster. Exact, and without a search.

What matters of a node is its room: how many processes of the second kind it holds beside j of the first,
for every j. Rooms of nodes add up to the room of a cluster by a small dynamic programme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from outrider.algorithm.cluster.demand import GPU

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from outrider.algorithm.settings.resource_settings import PlacementStrategy

Resources: TypeAlias = Mapping[str, float]
"""Amounts by Ray's names."""
Room: TypeAlias = "NDArray[np.int64]"
"""Entry j: the most processes of the second kind beside j of the first. It ends where no more fit."""

UNIT = 10_000
"""Ray counts resources in ten-thousandths, and so does this file."""


@dataclass(frozen=True, slots=True)
class Kind:
    """So many processes, each of which reserves the same."""

    num: int
    resources: Resources


def fits(kinds: Sequence[Kind], nodes: Sequence[Resources], strategy: PlacementStrategy) -> bool:
    """Tell whether every process finds room on the nodes."""
    first, second = (*kinds, Kind(0, {}), Kind(0, {}))[:2]
    if strategy == "STRICT_SPREAD":
        return _fit_apart([kind for kind in kinds if kind.num], nodes)
    rooms = [node_room(first, second, node) for node in nodes]
    if strategy != "STRICT_PACK":
        rooms = [cluster_room(first, rooms)]
    return any(len(room) > first.num and room[first.num] >= second.num for room in rooms)


def _fit_apart(kinds: Sequence[Kind], nodes: Sequence[Resources]) -> bool:
    """Give each process a node of its own: possible where every set of kinds has enough nodes (Hall 1935)."""
    holds = [[can_hold(kind, node) for kind in kinds] for node in nodes]
    enough = all(sum(node[which] for node in holds) >= kind.num for which, kind in enumerate(kinds))
    return enough and sum(any(node) for node in holds) >= sum(kind.num for kind in kinds)


def can_hold(kind: Kind, node: Resources) -> bool:
    """Tell whether a node holds one process of this kind."""
    return len(node_room(Kind(1, kind.resources), Kind(0, {}), node)) > 1


def cluster_room(first: Kind, rooms: Sequence[Room]) -> Room:
    """Add rooms up: the most of the second kind beside j of the first on all nodes together."""
    most = np.zeros(1, dtype=np.int64)
    for room in rooms:
        longer = np.zeros(min(len(most) + len(room) - 1, first.num + 1), dtype=np.int64)
        for here, beside in enumerate(room):
            there = most[: len(longer) - here]
            part = longer[here : here + len(there)]
            np.maximum(part, there + beside, out=part)
        most = longer
    return most


def node_room(first: Kind, second: Kind, node: Resources) -> Room:
    """Return the room of one node."""
    names = (first.resources.keys() | second.resources.keys()) - {GPU}
    rooms = [_divisible_room(first, second, name, _units(node, name)) for name in names]
    rooms.append(_gpu_room(first, second, _units(node, GPU)))
    shortest = min(map(len, rooms))
    return np.min([room[:shortest] for room in rooms], axis=0)  # type: ignore[no-any-return]


def _divisible_room(first: Kind, second: Kind, name: str, has: int) -> Room:
    """Room as far as a resource goes of which any part can be had."""
    own, other = _units(first.resources, name), _units(second.resources, name)
    num = min(first.num, has // own) if own else first.num
    left = has - own * np.arange(num + 1)
    return np.minimum(second.num, left // other) if other else np.full(num + 1, second.num)


def _gpu_room(first: Kind, second: Kind, has: int) -> Room:
    """Room as far as GPUs go: a fraction lies on one GPU, and more than one means whole ones."""
    own, other = _units(first.resources, GPU), _units(second.resources, GPU)
    if not own or not other:
        return _one_kind(first, second, own or other, has)
    whole, part = divmod(has, UNIT)
    if own <= UNIT and other <= UNIT:
        gpus = [_divisible_room(first, second, GPU, UNIT)] * whole + [
            _divisible_room(first, second, GPU, part)
        ]
        return np.minimum(second.num, cluster_room(first, gpus))
    in_part, in_gpu = part // own, max(1, UNIT // own)
    num = np.arange(min(first.num, _num_on_gpus(own, has)) + 1)
    taken = np.maximum(0, -(-(num - in_part) // in_gpu)) * max(1, own // UNIT)
    left = UNIT * (whole - taken) + (part if own > UNIT else 0)
    return np.array([min(second.num, _num_on_gpus(other, int(each))) for each in left])


def _one_kind(first: Kind, second: Kind, size: int, has: int) -> Room:
    """Room where at most one kind of process has GPUs."""
    if not size:
        return np.full(first.num + 1, second.num)
    num = _num_on_gpus(size, has)
    if first.resources.get(GPU):
        return np.full(min(first.num, num) + 1, second.num)
    return np.full(first.num + 1, min(second.num, num))


def _num_on_gpus(size: int, has: int) -> int:
    """How many processes find room that take `size` of the GPUs each."""
    whole, part = divmod(has, UNIT)
    if size > UNIT:
        return whole // (size // UNIT)
    return whole * (UNIT // size) + part // size


def _units(resources: Resources, name: str) -> int:
    return round(UNIT * resources.get(name, 0.0))
