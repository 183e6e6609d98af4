"""Protobuf's wire format, for the few messages that are written and read by hand.

Those are the ones whose content is large: a protobuf library copies a `bytes` field on the way in and on
the way out.
"""

from __future__ import annotations

from collections.abc import Iterator

from outrider.wire.wire_error import WireError

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}


def field_prefix(number: int, size: int) -> bytes:
    """Return what stands before the content of a length-delimited field."""
    return varint(number << 3 | LENGTH_DELIMITED) + varint(size)


def varint(value: int) -> bytes:
    """Return a number from 0 on, in as few bytes as it takes."""
    if value < 128:
        return bytes((value,))
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def read_varint(view: memoryview, position: int) -> tuple[int, int]:
    """Return the number at `position` and where it ends. Raises WireError."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(view):
            raise WireError("the message ends within a tag or a length")
        byte = view[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise WireError("a tag or number of more than 10 bytes")


def walk(view: memoryview, max_fields: int = 64) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and content of each field: a number, or a view of bytes. Raises WireError.

    A field takes about a microsecond, so that their number is bounded.
    """
    position = num_fields = 0
    while position < len(view):
        num_fields += 1
        if num_fields > max_fields:
            raise WireError(f"more than {max_fields} fields in one message")
        tag, position = read_varint(view, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == VARINT:
            value, position = read_varint(view, position)
            yield number, value
            continue
        if wire_type == LENGTH_DELIMITED:
            size, position = read_varint(view, position)
        else:
            size = _FIXED_SIZES.get(wire_type, 0)
        if not number or not (size or wire_type == LENGTH_DELIMITED):
            raise WireError(f"field {number} of wire type {wire_type}, which proto3 does not have")
        if size > len(view) - position:
            raise WireError(f"field {number} claims {size} bytes and {len(view) - position} are left")
        yield number, view[position : position + size]
        position += size
