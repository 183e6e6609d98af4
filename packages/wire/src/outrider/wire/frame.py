"""A message as a small header and the arrays that belong to it, and its layout as one run of bytes.

The layout is that of `proto/outrider/wire/v1/frame.proto`: a valid protobuf message whose last field
holds the arrays as they lie in memory, each aligned to 64 bytes from the start of the message. In
process memory shared by other means (Ray) the same header travels beside its arrays instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from outrider.wire.limits import Limits
from outrider.wire.v1 import frame_pb2
from outrider.wire.wire_error import WireError, reading
from outrider.wire.wire_format import LENGTH_DELIMITED, field_prefix, read_varint, varint

Bytes: TypeAlias = bytes | bytearray | memoryview
"""Contiguous bytes, wherever they lie."""

ALIGNMENT = 64
_ZEROS = bytes(ALIGNMENT)
_HEADER, _ARRAY_SIZES, _PADDING, _BODY = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Frame:
    """A header and the arrays that it describes, which still belong to whoever made them."""

    header: bytes
    """A serialised FragmentHeader, WeightsHeader, PolicyGraphHeader or TreeHeader."""
    buffers: list[memoryview]
    """The bytes of each array, in order. None is empty."""

    @classmethod
    def from_parts(cls, header: Bytes, buffers: Iterable[Bytes]) -> Frame:
        """Make a frame of a header and arrays that travelled beside it. Nothing is copied."""
        return cls(bytes(header), [memoryview(buffer).cast("B") for buffer in buffers])

    @property
    def num_bytes(self) -> int:
        """Size of the frame as one message."""
        return sum(map(len, self.pieces()))

    def pieces(self) -> list[bytes | memoryview]:
        """Return the message in consecutive pieces, for a writer that gathers. No array is copied."""
        arrays: list[bytes | memoryview] = []
        sizes = bytearray()
        end = 0
        for buffer in self.buffers:
            gap = -end % ALIGNMENT
            if gap:
                arrays.append(_ZEROS[:gap])
            arrays.append(buffer)
            sizes += varint(len(buffer))
            end += gap + len(buffer)
        prefix = field_prefix(_HEADER, len(self.header)) + self.header
        if end:
            prefix += field_prefix(_ARRAY_SIZES, len(sizes)) + sizes
            body = field_prefix(_BODY, end)
            num_zeros = -(len(prefix) + 2 + len(body)) % ALIGNMENT
            prefix += field_prefix(_PADDING, num_zeros) + _ZEROS[:num_zeros] + body
        return [prefix, *arrays]

    def to_bytes(self) -> bytes:
        """Return the message in one piece; this copies every array once."""
        return b"".join(self.pieces())

    def write_into(self, buffer: bytearray | memoryview) -> int:
        """Write the message to the start of `buffer` and return its size; copies every array once.

        Raises ValueError where the buffer is smaller than `num_bytes`.
        """
        pieces = self.pieces()
        num_bytes = sum(map(len, pieces))
        target = memoryview(buffer).cast("B")
        if num_bytes > len(target):
            raise ValueError(
                f"a frame of {num_bytes} bytes does not fit into a buffer of {len(target)}; "
                "reserve at least `frame.num_bytes`"
            )
        position = 0
        for piece in pieces:
            target[position : position + len(piece)] = piece
            position += len(piece)
        return num_bytes


def read_frame(message: Bytes, limits: Limits = Limits()) -> Frame:  # noqa: B008  (frozen)
    """Split a message into its header and views of its arrays, without copying an array.

    The caller must not write to `message` while an array of it is in use. Raises WireError.
    """
    with reading("frame"):
        view = memoryview(message).cast("B").toreadonly()
        limits.check("max_message_bytes", len(view))
        fields = _split_fields(view)
        header = fields.get(_HEADER, view[:0])
        packed = fields.get(_ARRAY_SIZES, view[:0])
        limits.check("max_header_bytes", len(header))
        # A number takes 1 to 10 bytes, and is a Python object once it is read.
        limits.check("max_arrays", len(packed) // 10)
        sizes = frame_pb2.Frame.FromString(field_prefix(_ARRAY_SIZES, len(packed)) + packed).array_sizes
        return Frame(bytes(header), _split_body(fields.get(_BODY, view[:0]), list(sizes), limits))


def check_frame(frame: Frame, limits: Limits) -> None:
    """Raise WireError where a frame that arrived in parts is over a limit."""
    limits.check("max_arrays", len(frame.buffers))
    limits.check("max_header_bytes", len(frame.header))
    limits.check("max_message_bytes", sum(map(len, frame.buffers)))


def starts(sizes: Iterable[int]) -> list[int]:
    """Return where arrays of these sizes start within a body."""
    found, end = [], 0
    for size in sizes:
        start = end + -end % ALIGNMENT
        found.append(start)
        end = start + size
    return found


def _split_fields(view: memoryview) -> dict[int, memoryview]:
    found: dict[int, memoryview] = {}
    position = previous = 0
    while position < len(view):
        tag, position = read_varint(view, position)
        number = tag >> 3
        if tag & 7 != LENGTH_DELIMITED or not previous < number <= _BODY:
            raise WireError(
                f"field {number} of wire type {tag & 7} after field {previous}; "
                "a frame has the fields 1 to 4, each at most once and in order"
            )
        size, position = read_varint(view, position)
        if size > len(view) - position:
            raise WireError(f"field {number} claims {size} bytes and {len(view) - position} are left")
        found[number] = view[position : position + size]
        position += size
        previous = number
    return found


def _split_body(body: memoryview, sizes: list[int], limits: Limits) -> list[memoryview]:
    limits.check("max_arrays", len(sizes))
    buffers, end = [], 0
    for size in sizes:
        start = end + -end % ALIGNMENT
        if not 0 < size <= len(body) - start:
            raise WireError(f"an array of {size} bytes at {start} in a body of {len(body)}")
        if start > end and body[end:start] != _ZEROS[: start - end]:
            raise WireError(f"the gap before the array at {start} is not zero")
        end = start + size
        buffers.append(body[start:end])
    if end != len(body):
        raise WireError(f"a body of {len(body)} bytes whose arrays end at {end}; it must end with them")
    return buffers
