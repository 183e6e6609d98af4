"""Spaces of observations and actions as plain values. They never sample and never need Gymnasium.

A nested space (Dict, Tuple) is spoken of by its leaves. A leaf has a path in the manner of a JSON
pointer: "" for a space that is itself a leaf, "/camera" for a Dict entry, "/0/position" for an
entry of a Dict inside a Tuple. Columns of a fragment and inputs of a policy graph use these paths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BoxSpace:
    """Arrays of one shape and dtype between two bounds, both included."""

    low: NDArray[Any]
    """Lower bounds; its shape and dtype are those of the space."""
    high: NDArray[Any]
    """Upper bounds, of the same shape and dtype."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiscreteSpace:
    """One of `num_values` whole numbers from `start` on."""

    num_values: int
    start: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MultiDiscreteSpace:
    """An array of whole numbers, each with its own range."""

    num_values: NDArray[np.int64]
    """How many values each component has; its shape is that of the space."""
    start: NDArray[np.int64]
    """Each component's smallest value, of the same shape."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiBinarySpace:
    """An array of zeros and ones."""

    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextSpace:
    """Strings over a character set."""

    min_length: int
    max_length: int
    characters: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DictSpace:
    """Named spaces, in the order in which Gymnasium keeps them."""

    spaces: Mapping[str, Space]


@dataclass(frozen=True, kw_only=True, slots=True)
class TupleSpace:
    """Spaces in a row."""

    spaces: tuple[Space, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceSpace:
    """Any number of elements of one space."""

    element: Space
    stacked: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphSpace:
    """Graphs whose nodes, and edges where there are any, belong to a space."""

    node: BoxSpace | DiscreteSpace
    edge: BoxSpace | DiscreteSpace | None


@dataclass(frozen=True, kw_only=True, slots=True)
class OneOfSpace:
    """One value of one of several spaces."""

    spaces: tuple[Space, ...]


LeafSpace: TypeAlias = (
    BoxSpace
    | DiscreteSpace
    | MultiDiscreteSpace
    | MultiBinarySpace
    | TextSpace
    | SequenceSpace
    | GraphSpace
    | OneOfSpace
)
Space: TypeAlias = LeafSpace | DictSpace | TupleSpace


def leaves(space: Space) -> dict[str, LeafSpace]:
    """Return the leaves of `space` by path, in order.

    >>> list(leaves(TupleSpace(spaces=(DiscreteSpace(num_values=2), MultiBinarySpace(shape=(3,))))))
    ['/0', '/1']
    """
    return dict(_walk(space, ""))


def _walk(space: Space, path: str) -> Iterator[tuple[str, LeafSpace]]:
    if isinstance(space, DictSpace):
        for name, child in space.spaces.items():
            yield from _walk(child, f"{path}/{escape(name)}")
    elif isinstance(space, TupleSpace):
        for index, child in enumerate(space.spaces):
            yield from _walk(child, f"{path}/{index}")
    else:
        yield path, space


def escape(name: str) -> str:
    """Write a Dict key as one segment of a path (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def leaf_shape(leaf: LeafSpace) -> tuple[int, ...]:
    """Return the shape of one value of a Box, Discrete, MultiDiscrete or MultiBinary leaf."""
    match leaf:
        case BoxSpace():
            return leaf.low.shape
        case DiscreteSpace():
            return ()
        case MultiDiscreteSpace():
            return leaf.num_values.shape
        case MultiBinarySpace():
            return leaf.shape
        case _:
            raise _no_array(leaf)


def leaf_dtype(leaf: LeafSpace) -> np.dtype[Any]:
    """Return the dtype in which values of an array-valued leaf are recorded."""
    match leaf:
        case BoxSpace():
            return leaf.low.dtype
        case DiscreteSpace() | MultiDiscreteSpace():
            return np.dtype(np.int64)
        case MultiBinarySpace():
            return np.dtype(np.int8)
        case _:
            raise _no_array(leaf)


def _no_array(leaf: LeafSpace) -> ValueError:
    return ValueError(
        f"{type(leaf).__name__} has no fixed array shape; policies take Box, Discrete, MultiDiscrete, "
        "MultiBinary and Dict or Tuple of these: convert it with a wrapper"
    )
