"""The layout that all messages with arrays share."""

from __future__ import annotations

import numpy as np
import pytest

from outrider.wire import Frame, Limits, WireError, read_frame
from outrider.wire.v1 import frame_pb2

FRAME = Frame.from_parts(b"header", [b"a" * 65, b"b" * 3])
#    header (1 + 1 + 6) | sizes (1 + 1 + 2) | padding (1 + 1 + 47) | body (1 + 2): 64, then 65 + 63 + 3
NUM_BYTES = 64 + 131


def test_arrays_start_at_multiples_of_64_bytes() -> None:
    message = FRAME.to_bytes()
    assert message[64:129] == b"a" * 65
    assert message[129:192] == bytes(63)
    assert message[192:] == b"b" * 3


def test_a_stock_protobuf_library_reads_the_frame_as_a_plain_message() -> None:
    message = frame_pb2.Frame.FromString(FRAME.to_bytes())
    assert message.header == b"header"
    assert list(message.array_sizes) == [65, 3]
    assert message.body == b"a" * 65 + bytes(63) + b"b" * 3


def test_what_a_stock_protobuf_library_writes_without_padding_is_read() -> None:
    written = frame_pb2.Frame(header=b"header", array_sizes=[1], body=b"x").SerializeToString()
    assert read_frame(written).buffers == [b"x"]


def test_a_frame_comes_back_as_views_of_the_message() -> None:
    message = bytearray(FRAME.to_bytes())
    frame = read_frame(message)
    message[64] = ord("z")
    assert frame.header == b"header"
    assert frame.buffers[0][:2] == b"za"
    assert frame.buffers[0].readonly


def test_a_frame_without_arrays_is_its_header() -> None:
    message = Frame(b"header", []).to_bytes()
    assert message == b"\x0a\x06header"
    assert read_frame(message) == Frame(b"header", [])


def test_a_frame_knows_its_size_before_it_is_written() -> None:
    assert FRAME.num_bytes == len(FRAME.to_bytes()) == NUM_BYTES


def test_a_frame_is_written_to_the_start_of_a_larger_buffer() -> None:
    buffer = np.full(NUM_BYTES + 1, 7, np.uint8)
    assert FRAME.write_into(buffer.data) == NUM_BYTES
    assert buffer[:NUM_BYTES].tobytes() == FRAME.to_bytes()
    assert buffer[NUM_BYTES] == 7


def test_a_buffer_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="195 bytes does not fit into a buffer of 194"):
        FRAME.write_into(bytearray(NUM_BYTES - 1))


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (FRAME.to_bytes()[:-1], "field 4 claims 131 bytes and 130 are left"),
        (FRAME.to_bytes() + b"\x0a\x00", "field 1 of wire type 2 after field 4"),
        (FRAME.to_bytes() + b"\x2a\x00", "field 5 of wire type 2 after field 4"),
        (FRAME.to_bytes()[:8] + FRAME.to_bytes(), "field 1 of wire type 2 after field 1"),
        (b"\x08\x01", "field 1 of wire type 0"),
        (b"\x0a", "ends within a tag or a length"),
        (b"\xff" * 11, "more than 10 bytes"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "claims 9223372036854775807 bytes"),
    ],
)
def test_a_layout_that_does_not_add_up_is_refused(message: bytes, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        read_frame(message)


@pytest.mark.parametrize(
    ("array_sizes", "body", "sentence"),
    [
        ([1, 1], b"xx", "an array of 1 bytes at 64 in a body of 2"),
        ([1], b"xx", "whose arrays end at 1"),
        ([0], b"", "an array of 0 bytes"),
        ([2**63], b"xx", "an array of 9223372036854775808 bytes"),
        ([1, 1], b"x" * 65, "the gap before the array at 64 is not zero"),
    ],
)
def test_arrays_that_do_not_cover_the_body_exactly_are_refused(
    array_sizes: list[int], body: bytes, sentence: str
) -> None:
    message = frame_pb2.Frame(array_sizes=array_sizes, body=body).SerializeToString()
    with pytest.raises(WireError, match=sentence):
        read_frame(message)


@pytest.mark.parametrize("name", ["max_message_bytes", "max_header_bytes", "max_arrays"])
def test_a_frame_over_a_limit_is_refused_by_the_name_of_the_limit(name: str) -> None:
    sizes = {"max_message_bytes": NUM_BYTES, "max_header_bytes": 6, "max_arrays": 2}
    assert read_frame(FRAME.to_bytes(), Limits(**{name: sizes[name]}))
    with pytest.raises(WireError, match=f"{name} is {sizes[name] - 1} and {sizes[name]} came"):
        read_frame(FRAME.to_bytes(), Limits(**{name: sizes[name] - 1}))


def test_a_limit_that_lets_nothing_through_is_refused() -> None:
    with pytest.raises(ValueError, match="max_rows=0 lets nothing through"):
        Limits(max_rows=0)
