"""Trees of plain values and arrays to and from frames: settings, states, metrics.

    encode_tree({"rng": {"state": 2**100}, "weights": array, "names": ["a", None]})

Comes back as what it was, with three exceptions: a tuple is a list, a NumPy scalar is a Python number, and
arrays are read-only and in this machine's byte order. Nothing that is read is executed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from outrider.wire.frame import Bytes, Frame, read_frame
from outrider.wire.limits import Limits
from outrider.wire.tensor import BodyReader, BodyWriter
from outrider.wire.v1 import tree_pb2
from outrider.wire.wire_error import WireError, reading

_MAX_NESTING = 32  # 3 messages each, of the 100 that protobuf libraries read within each other
_LONG_INTEGER = re.compile(r"-?[1-9][0-9]{0,4095}", re.ASCII)
_UINT8 = np.dtype(np.uint8)


def encode_tree(value: Any) -> Frame:  # noqa: ANN401  (whatever has a plain form)
    """Describe a tree; the frame's buffers are the tree's own arrays where those are contiguous.

    Takes None, bool, int of up to 4,096 digits, float, str, bytes, arrays, and lists, tuples and
    mappings by str of these. Raises ValueError for anything else, with its place in the tree.
    """
    header = tree_pb2.TreeHeader()
    body = BodyWriter()
    _write(header.root, value, body, "", 1)
    return body.frame(header)


def decode_tree(message: Bytes, limits: Limits = Limits()) -> Any:  # noqa: ANN401, B008  (frozen)
    """Read a tree whose arrays are read-only views of `message`. Raises WireError.

    The caller must not write to `message` while the arrays are in use.
    """
    with reading("tree"):
        frame = read_frame(message, limits)
        body = BodyReader(frame, limits)
        return _read(tree_pb2.TreeHeader.FromString(frame.header).root, body, limits, "", 1)


def _write(message: tree_pb2.TreeValue, value: Any, body: BodyWriter, path: str, depth: int) -> None:  # noqa: ANN401
    if depth > _MAX_NESTING:
        raise ValueError(f"{path}: a tree has at most {_MAX_NESTING} values within each other; flatten it")
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case Mapping():
            _write_map(message, value, body, path, depth)
        case list() | tuple():
            message.list.SetInParent()
            for index, child in enumerate(value):
                _write(message.list.values.add(), child, body, f"{path}/{index}", depth + 1)
        case _:
            try:
                _write_leaf(message, value, body)
            except ValueError as error:
                raise ValueError(f"{path or 'the tree'}: {error}") from error


def _write_map(
    message: tree_pb2.TreeValue, value: Mapping[Any, Any], body: BodyWriter, path: str, depth: int
) -> None:
    message.map.SetInParent()
    for name, child in value.items():
        if not isinstance(name, str):
            raise ValueError(f"{path or 'the tree'}: a mapping has the key {name!r}; names are str")
        entry = message.map.entries.add(name=name)
        _write(entry.value, child, body, f"{path}/{name}", depth + 1)


def _write_leaf(message: tree_pb2.TreeValue, value: Any, body: BodyWriter) -> None:  # noqa: ANN401
    match value:
        case None:
            message.none = True
        case bool():
            message.boolean = value
        case int():
            _write_integer(message, value)
        case float():
            message.number = value
        case str():
            message.text = value
        case bytes():
            body.add(message.data, np.frombuffer(value, np.uint8))
        case np.ndarray():
            body.add(message.array, value)
        case _:
            raise ValueError(
                f"{value!r} has no plain form; use numbers, strings, bytes, arrays, lists and dictionaries"
            )


def _write_integer(message: tree_pb2.TreeValue, value: int) -> None:
    if -(2**63) <= value < 2**63:
        message.integer = value
        return
    if value.bit_length() > 13_607 or not _LONG_INTEGER.fullmatch(digits := str(value)):
        raise ValueError("a whole number of more than 4,096 digits; write it as bytes")
    message.long_integer = digits


def _read(message: tree_pb2.TreeValue, body: BodyReader, limits: Limits, path: str, depth: int) -> Any:  # noqa: ANN401
    if depth > limits.max_tree_nesting:
        limits.check("max_tree_nesting", depth)
    kind = message.WhichOneof("kind")
    if kind == "map":
        return _read_map(message.map, body, limits, path, depth)
    if kind == "list":
        return [
            _read(child, body, limits, f"{path}/{index}", depth + 1)
            for index, child in enumerate(message.list.values)
        ]
    if kind == "array":
        return body.read(message.array, path or "/")
    if kind == "data":
        array = body.read(message.data, path or "/")
        if array.dtype != _UINT8 or array.ndim != 1:
            raise WireError(f"{path}: bytes are {array.dtype} of shape {array.shape}; they are [N] uint8")
        return array.tobytes()
    if kind is None:
        raise WireError(f"{path}: a value of no kind known here; both sides need the same protocol version")
    return _LEAVES[kind](getattr(message, kind))


def _read_map(
    message: tree_pb2.TreeMap, body: BodyReader, limits: Limits, path: str, depth: int
) -> dict[str, Any]:
    found = {
        entry.name: _read(entry.value, body, limits, f"{path}/{entry.name}", depth + 1)
        for entry in message.entries
    }
    if len(found) != len(message.entries):
        raise WireError(f"{path}: a map with a name that occurs twice")
    return found


def _read_none(value: bool) -> None:  # noqa: FBT001  (a field of the message)
    if not value:
        raise WireError("a `none` that is false; it is always true")


def _read_long_integer(digits: str) -> int:
    if not _LONG_INTEGER.fullmatch(digits):
        raise WireError(f"{digits[:80]!r} is no whole number of at most 4,096 decimal digits")
    return int(digits)


_LEAVES: dict[str, Callable[[Any], Any]] = {
    "none": _read_none,
    "boolean": bool,
    "integer": int,
    "long_integer": _read_long_integer,
    "number": float,
    "text": str,
}
