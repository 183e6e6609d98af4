"""Spaces to and from their message. A space is rebuilt from plain values; nothing of it is executed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire.frame import Bytes
from outrider.wire.limits import Limits
from outrider.wire.space import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    GraphSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    OneOfSpace,
    SequenceSpace,
    Space,
    TextSpace,
    TupleSpace,
)
from outrider.wire.tensor import DTYPES, dtype_number, read_dtype, read_shape
from outrider.wire.v1 import space_pb2
from outrider.wire.wire_error import WireError, reading

_INT64_MAX = 2**63 - 1


def encode_space(space: Space) -> bytes:
    """Write a space that travels alone. Raises ValueError for what cannot cross the wire."""
    message = space_pb2.Space()
    write_space(message, space)
    return bytes(message.SerializeToString())


def decode_space(message: Bytes, limits: Limits = Limits()) -> Space:  # noqa: B008  (frozen)
    """Read a space that travelled alone. Raises WireError.

    Bounds are read-only; those that are the same for all elements take the memory of one.
    """
    with reading("space"):
        limits.check("max_header_bytes", len(message))
        return read_space(space_pb2.Space.FromString(bytes(message)), limits)


def write_space(message: space_pb2.Space, space: Space) -> None:
    """Fill a message."""
    if type(space) not in _WRITERS:
        raise ValueError(f"{space!r} is no space of outrider.wire; convert it to one")
    kind, write = _WRITERS[type(space)]
    field = getattr(message, kind)
    field.SetInParent()
    write(field, space)


def read_space(message: space_pb2.Space, limits: Limits, depth: int = 1) -> Space:
    """Return what a message says, once it is known to be a space."""
    if depth == 1:
        _check_count(message, limits)
    limits.check("max_nesting", depth)
    kind = message.WhichOneof("kind")
    if kind is None:
        raise WireError("a space of no kind known here; both sides need the same protocol version")
    return _READERS[kind](getattr(message, kind), limits, depth)


def _check_count(message: space_pb2.Space, limits: Limits) -> None:
    """Count the spaces of one before they are made: 40,000 take a quarter of a second."""
    waiting, num_spaces = [message], 1
    while waiting:
        each = waiting.pop()
        kind = each.WhichOneof("kind")
        children = [] if kind is None or kind not in _CHILDREN else _CHILDREN[kind](getattr(each, kind))
        num_spaces += len(children)
        limits.check("max_spaces", num_spaces)
        waiting += children


def _write_box(message: space_pb2.BoxSpace, space: BoxSpace) -> None:
    number = dtype_number(space.low.dtype)
    message.dtype = number
    message.shape.extend(space.low.shape)
    message.low = _write_bounds(space.low, DTYPES[number])
    message.high = _write_bounds(space.high, DTYPES[number])


def _write_bounds(bounds: NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    same = bounds.size > 0 and bool((bounds == bounds.flat[0]).all())
    return (bounds.flat[:1] if same else bounds).astype(dtype).tobytes()


def _read_box(message: space_pb2.BoxSpace, limits: Limits, _: int) -> BoxSpace:
    dtype = read_dtype(message.dtype, "a Box")
    shape = _read_shape(message.shape, dtype.itemsize, limits)
    low = _read_bounds(message.low, dtype, math.prod(shape))
    high = _read_bounds(message.high, dtype, math.prod(shape))
    # Unlike `(low > high).any()`, this refuses NaN too.
    if not (low <= high).all():
        raise WireError("a Box with a lower bound above its upper bound, or NaN")
    return BoxSpace(low=_spread(low, shape), high=_spread(high, shape))


def _read_bounds(content: bytes, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
    if len(content) not in {dtype.itemsize * min(size, 1), dtype.itemsize * size}:
        raise WireError(
            f"bounds of {len(content)} bytes for {size} elements of {dtype}; one or all are given"
        )
    bounds = np.frombuffer(content, dtype)
    if dtype == np.bool_ and bounds.size and bounds.view(np.uint8).max() > 1:
        raise WireError("a bool bound that is neither 0 nor 1")
    return bounds


def _spread(bounds: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return bounds in their shape; a single one is repeated without taking memory for it."""
    return bounds.reshape(shape) if bounds.size == math.prod(shape) else np.broadcast_to(bounds, shape)


def _write_discrete(message: space_pb2.DiscreteSpace, space: DiscreteSpace) -> None:
    message.num_values = space.num_values
    message.start = space.start


def _read_discrete(message: space_pb2.DiscreteSpace, _: Limits, __: int) -> DiscreteSpace:
    num_values, start = message.num_values, message.start
    if not 1 <= num_values <= _INT64_MAX - max(start, 0):
        raise WireError(f"a Discrete of {num_values} values from {start}; it has 1 or more within int64")
    return DiscreteSpace(num_values=num_values, start=start)


def _write_multi_discrete(message: space_pb2.MultiDiscreteSpace, space: MultiDiscreteSpace) -> None:
    message.shape.extend(space.num_values.shape)
    message.num_values.extend(space.num_values.ravel().tolist())
    if space.start.any():
        message.start.extend(space.start.ravel().tolist())


def _read_multi_discrete(message: space_pb2.MultiDiscreteSpace, limits: Limits, _: int) -> MultiDiscreteSpace:
    shape = _read_shape(message.shape, 8, limits)
    num_values, size = list(message.num_values), math.prod(shape)
    if len(num_values) != size or len(message.start) not in {0, size}:
        raise WireError(
            f"a MultiDiscrete of shape {shape} with {len(num_values)} ranges and {len(message.start)} starts"
        )
    start = list(message.start) or [0] * size
    most_N = _INT64_MAX - np.maximum(np.array(start, np.int64), 0)
    num_values_N = np.array(num_values, np.uint64)
    if (num_values_N < 1).any() or (num_values_N > most_N.astype(np.uint64)).any():
        raise WireError("a MultiDiscrete with an element of no values, or beyond int64")
    return MultiDiscreteSpace(num_values=_integers(num_values, shape), start=_integers(start, shape))


def _integers(values: list[int], shape: tuple[int, ...]) -> NDArray[np.int64]:
    array = np.array(values, np.int64).reshape(shape)
    array.flags.writeable = False
    return array


def _write_multi_binary(message: space_pb2.MultiBinarySpace, space: MultiBinarySpace) -> None:
    message.shape.extend(space.shape)


def _read_multi_binary(message: space_pb2.MultiBinarySpace, limits: Limits, _: int) -> MultiBinarySpace:
    return MultiBinarySpace(shape=_read_shape(message.shape, 1, limits))


def _write_text(message: space_pb2.TextSpace, space: TextSpace) -> None:
    message.min_length = space.min_length
    message.max_length = space.max_length
    message.characters = space.characters


def _read_text(message: space_pb2.TextSpace, _: Limits, __: int) -> TextSpace:
    shortest, longest, characters = message.min_length, message.max_length, message.characters
    if not shortest <= longest <= _INT64_MAX:
        raise WireError(f"a Text of {shortest} to {longest} characters")
    if len(set(characters)) != len(characters):
        raise WireError("a Text with a character that occurs twice in its set")
    return TextSpace(min_length=shortest, max_length=longest, characters=characters)


def _write_dict(message: space_pb2.DictSpace, space: DictSpace) -> None:
    for name, child in space.spaces.items():
        write_space(message.entries.add(name=name).space, child)


def _read_dict(message: space_pb2.DictSpace, limits: Limits, depth: int) -> DictSpace:
    spaces = {entry.name: read_space(entry.space, limits, depth + 1) for entry in message.entries}
    if len(spaces) != len(message.entries):
        raise WireError("a Dict with a name that occurs twice")
    return DictSpace(spaces=spaces)


def _write_tuple(
    message: space_pb2.TupleSpace | space_pb2.OneOfSpace, space: TupleSpace | OneOfSpace
) -> None:
    for child in space.spaces:
        write_space(message.spaces.add(), child)


def _read_tuple(message: space_pb2.TupleSpace, limits: Limits, depth: int) -> TupleSpace:
    return TupleSpace(spaces=tuple(read_space(child, limits, depth + 1) for child in message.spaces))


def _write_sequence(message: space_pb2.SequenceSpace, space: SequenceSpace) -> None:
    write_space(message.element, space.element)
    message.stacked = space.stacked


def _read_sequence(message: space_pb2.SequenceSpace, limits: Limits, depth: int) -> SequenceSpace:
    return SequenceSpace(element=read_space(message.element, limits, depth + 1), stacked=message.stacked)


def _write_graph(message: space_pb2.GraphSpace, space: GraphSpace) -> None:
    write_space(message.node, space.node)
    if space.edge is not None:
        write_space(message.edge, space.edge)


def _read_graph(message: space_pb2.GraphSpace, limits: Limits, depth: int) -> GraphSpace:
    node = read_space(message.node, limits, depth + 1)
    edge = read_space(message.edge, limits, depth + 1) if message.HasField("edge") else None
    if not isinstance(node, _GRAPH_PARTS) or not (edge is None or isinstance(edge, _GRAPH_PARTS)):
        raise WireError("a Graph whose nodes or edges are neither Box nor Discrete")
    return GraphSpace(node=node, edge=edge)


def _read_one_of(message: space_pb2.OneOfSpace, limits: Limits, depth: int) -> OneOfSpace:
    if not message.spaces:
        raise WireError("a OneOf of no spaces; it has at least one")
    return OneOfSpace(spaces=tuple(read_space(child, limits, depth + 1) for child in message.spaces))


def _read_shape(lengths: Collection[int], itemsize: int, limits: Limits) -> tuple[int, ...]:
    shape = read_shape(lengths, itemsize, limits)
    limits.check("max_space_elements", math.prod(shape))
    return shape


_GRAPH_PARTS = (BoxSpace, DiscreteSpace)
_WRITERS: dict[type, tuple[str, Callable[[Any, Any], None]]] = {
    BoxSpace: ("box", _write_box),
    DiscreteSpace: ("discrete", _write_discrete),
    MultiDiscreteSpace: ("multi_discrete", _write_multi_discrete),
    MultiBinarySpace: ("multi_binary", _write_multi_binary),
    TextSpace: ("text", _write_text),
    DictSpace: ("dict", _write_dict),
    TupleSpace: ("tuple", _write_tuple),
    SequenceSpace: ("sequence", _write_sequence),
    GraphSpace: ("graph", _write_graph),
    OneOfSpace: ("one_of", _write_tuple),
}
_CHILDREN: dict[str, Callable[[Any], list[space_pb2.Space]]] = {
    "dict": lambda message: [entry.space for entry in message.entries],
    "tuple": lambda message: list(message.spaces),
    "one_of": lambda message: list(message.spaces),
    "sequence": lambda message: [message.element],
    "graph": lambda message: [message.node, message.edge],
}
_READERS: dict[str, Callable[[Any, Limits, int], Space]] = {
    "box": _read_box,
    "discrete": _read_discrete,
    "multi_discrete": _read_multi_discrete,
    "multi_binary": _read_multi_binary,
    "text": _read_text,
    "dict": _read_dict,
    "tuple": _read_tuple,
    "sequence": _read_sequence,
    "graph": _read_graph,
    "one_of": _read_one_of,
}
