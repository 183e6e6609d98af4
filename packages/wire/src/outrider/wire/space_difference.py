"""What two spaces differ in. Their dataclasses leave equality out because they hold arrays."""

from __future__ import annotations

from collections.abc import Sequence
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
    escape,
)


def space_difference(
    theirs: Space | None, ours: Space | None, *, there: str = "there", here: str = "here"
) -> str | None:
    """Return the first difference of two spaces as the middle of a sentence, or None where they are the same.

    `there` and `here` are what a reader calls the places of the two. Spaces are the same
    that hold the same values in the same order of leaves and the same dtype.

    >>> space_difference(DiscreteSpace(num_values=2), DiscreteSpace(num_values=3))
    'num_values is 2 there and 3 here'
    """
    found = _difference(theirs, ours)
    if found is None:
        return None
    path, (subject, their, our) = found
    difference = " ".join(each for each in (subject, their, there, "and", our, here) if each)
    return f"{path}: {difference}" if path else difference


_Differs = tuple[str, str, str]
"""What differs, how it is on their side, and how on ours: "shape is", "(3,)", "(4,)"."""
_Found = tuple[str, _Differs] | None
"""A path, and what differs there."""


def _difference(theirs: Any, ours: Any) -> _Found:  # noqa: ANN401, PLR0911  (a case for each kind)
    if type(theirs) is not type(ours):
        return "", ("there is", _kind(theirs), _kind(ours))
    match theirs:
        case BoxSpace():
            return _of_arrays(theirs, ours, ("low", "high"))
        case MultiDiscreteSpace():
            return _of_arrays(theirs, ours, ("num_values", "start"))
        case DictSpace():
            return _of_names(list(theirs.spaces), list(ours.spaces)) or _of_children(
                [escape(name) for name in ours.spaces],
                list(theirs.spaces.values()),
                list(ours.spaces.values()),
            )
        case TupleSpace() | OneOfSpace():
            if len(theirs.spaces) != len(ours.spaces):
                return "", _differs("number of spaces", len(theirs.spaces), len(ours.spaces))
            return _of_children(list(map(str, range(len(ours.spaces)))), theirs.spaces, ours.spaces)
        case SequenceSpace():
            if theirs.stacked != ours.stacked:
                return "", _differs("stacked", theirs.stacked, ours.stacked)
            return _of_children(["element"], [theirs.element], [ours.element])
        case GraphSpace():
            return _of_children(["node", "edge"], [theirs.node, theirs.edge], [ours.node, ours.edge])
        case _:
            return _of_fields(theirs, ours)


def _kind(space: Space | None) -> str:
    return "none" if space is None else f"a {type(space).__name__.removesuffix('Space')}"


def _differs(field: str, theirs: object, ours: object) -> _Differs:
    return f"{field} is", str(theirs), str(ours)


def _of_fields(theirs: Any, ours: Any) -> _Found:  # noqa: ANN401  (a space of plain values)
    for field in theirs.__slots__ if theirs is not None else ():
        if getattr(theirs, field) != getattr(ours, field):
            return "", _differs(field, getattr(theirs, field), getattr(ours, field))
    return None


def _of_arrays(theirs: Any, ours: Any, fields: tuple[str, ...]) -> _Found:  # noqa: ANN401  (of one kind)
    for field in fields:
        difference = _of_array(field, getattr(theirs, field), getattr(ours, field))
        if difference is not None:
            return "", difference
    return None


def _of_array(field: str, theirs: NDArray[Any], ours: NDArray[Any]) -> _Differs | None:
    for name in ("shape", "dtype"):
        if getattr(theirs, name) != getattr(ours, name):
            return _differs(name, getattr(theirs, name), getattr(ours, name))
    wrong = np.asarray(theirs != ours)
    if not wrong.any():
        return None
    place = tuple(map(int, np.unravel_index(np.argmax(wrong), wrong.shape)))
    return _differs(f"{field}{list(place)}" if place else field, theirs[place], ours[place])


def _of_names(theirs: list[str], ours: list[str]) -> _Found:
    for name in theirs:
        if name not in ours:
            return f"/{escape(name)}", ("it is", "", "not")
    for name in ours:
        if name not in theirs:
            return f"/{escape(name)}", ("it is", "missing", "it is")
    return ("", _differs("the order", theirs, ours)) if theirs != ours else None


def _of_children(names: list[str], theirs: Sequence[Space | None], ours: Sequence[Space | None]) -> _Found:
    for name, their, our in zip(names, theirs, ours, strict=True):
        found = _difference(their, our)
        if found is not None:
            return f"/{name}{found[0]}", found[1]
    return None
