"""Equality of spaces, which the dataclasses leave out because they hold arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire.space import (
    BoxSpace,
    DictSpace,
    GraphSpace,
    MultiDiscreteSpace,
    OneOfSpace,
    SequenceSpace,
    Space,
    TupleSpace,
)


def same_space(a: Space | None, b: Space | None) -> bool:  # noqa: PLR0911  (a case for each kind)
    """Return whether two spaces hold the same values in the same order of leaves and the same dtype."""
    match a, b:
        case BoxSpace(), BoxSpace():
            return _same_array(a.low, b.low) and _same_array(a.high, b.high)
        case MultiDiscreteSpace(), MultiDiscreteSpace():
            return _same_array(a.num_values, b.num_values) and _same_array(a.start, b.start)
        case DictSpace(), DictSpace():
            return list(a.spaces) == list(b.spaces) and _all_same(a.spaces.values(), b.spaces.values())
        case TupleSpace(), TupleSpace():
            return len(a.spaces) == len(b.spaces) and _all_same(a.spaces, b.spaces)
        case OneOfSpace(), OneOfSpace():
            return len(a.spaces) == len(b.spaces) and _all_same(a.spaces, b.spaces)
        case SequenceSpace(), SequenceSpace():
            return a.stacked == b.stacked and same_space(a.element, b.element)
        case GraphSpace(), GraphSpace():
            return same_space(a.node, b.node) and same_space(a.edge, b.edge)
        case _:
            # Discrete, MultiBinary and Text hold plain values; for kinds that differ this is false.
            return a == b


def _all_same(a: Any, b: Any) -> bool:  # noqa: ANN401  (any iterables of spaces)
    return all(map(same_space, a, b))


def _same_array(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b)
