"""Fragments to bytes and back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.testing.messages import example_fragment, random_fragment, same_message
from outrider.wire import (
    Fragment,
    Frame,
    Limits,
    WireError,
    decode_fragment,
    decode_fragment_frame,
    encode_fragment,
)
from outrider.wire.v1 import fragment_pb2


@given(seed=st.integers(0, 2**32 - 1), num_streams=st.integers(0, 5), max_length=st.integers(1, 9))
def test_every_fragment_comes_back_as_it_was(seed: int, num_streams: int, max_length: int) -> None:
    fragment = random_fragment(seed, num_streams=num_streams, max_length=max_length)
    assert same_message(decode_fragment(encode_fragment(fragment).to_bytes()), fragment)


@given(seed=st.integers(0, 2**32 - 1))
def test_a_fragment_travels_beside_its_header(seed: int) -> None:
    frame = encode_fragment(random_fragment(seed))
    received = Frame.from_parts(bytes(frame.header), [bytes(buffer) for buffer in frame.buffers])
    assert same_message(decode_fragment_frame(received), random_fragment(seed))


def test_encoding_copies_no_contiguous_array() -> None:
    fragment = example_fragment()
    frame = encode_fragment(fragment)
    fragment.rewards[0] = 77
    assert same_message(decode_fragment_frame(frame), fragment)


def test_decoding_gives_read_only_aligned_views_of_the_message() -> None:
    message = np.zeros(4096, np.uint8)
    size = encode_fragment(example_fragment()).write_into(message.data)
    fragment = decode_fragment(message.data[:size])
    for array in (fragment.rewards, fragment.observations["/camera"], fragment.streams.lengths):
        assert np.shares_memory(array, message)
        assert not array.flags.writeable
        assert (array.ctypes.data - message.ctypes.data) % 64 == 0


def test_arrays_that_a_sender_left_unaligned_are_copied_into_place() -> None:
    padded = encode_fragment(example_fragment()).to_bytes()
    message = fragment_pb2.Fragment.FromString(padded)
    message.ClearField("padding")
    for shift in range(4):
        message.header.streams.ClearField("state")
        unaligned = bytearray(shift) + message.SerializeToString()
        fragment = decode_fragment(memoryview(unaligned)[shift:])
        assert fragment.rewards.flags.aligned
        assert fragment.rewards.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_arrays_in_any_layout_and_byte_order_can_be_sent() -> None:
    fragment = example_fragment()
    odd = replace(
        fragment,
        rewards=np.repeat(fragment.rewards, 2)[::2],
        observations={
            "/camera": np.asfortranarray(fragment.observations["/camera"]),
            "/speed": fragment.observations["/speed"].astype(">f4"),
        },
        next_observations={
            "/camera": fragment.next_observations["/camera"],
            "/speed": fragment.next_observations["/speed"].astype(">f4"),
        },
    )
    assert same_message(decode_fragment(encode_fragment(odd).to_bytes()), fragment)


def test_a_column_that_this_version_does_not_know_is_skipped() -> None:
    message = encode_fragment(example_fragment())
    newer = message.header + b"\xfa\x01\x02\x08\x06"  # field 31, a Tensor of uint8
    received = Frame.from_parts(newer, [*message.buffers, b"what field 31 describes"])
    assert same_message(decode_fragment(received.to_bytes()), example_fragment())


def test_a_dtype_that_cannot_cross_the_wire_is_named_with_a_cure() -> None:
    fragment = replace(example_fragment(), actions={"": np.zeros(7, np.complex64)})
    with pytest.raises(ValueError, match="dtype complex64 cannot cross the wire; cast to one of bool, int8"):
        encode_fragment(fragment)


def test_a_fragment_that_breaks_a_rule_is_not_sent() -> None:
    with pytest.raises(ValueError, match="next_rows has 0 rows where 3 are due"):
        encode_fragment(replace(example_fragment(), next_rows=np.zeros(0, np.int64)))


def _lie(change: str) -> Frame:
    frame = encode_fragment(example_fragment())
    header = fragment_pb2.FragmentHeader.FromString(frame.header)
    exec(change, {"header": header})
    return Frame(header.SerializeToString(), frame.buffers)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("header.rewards.shape[0] = 2**62", "max_message_bytes is 268435456 and 18446744073709551616 came"),
        ("header.rewards.shape.append(0)", "rewards has shape"),
        ("header.rewards.shape[0] = 6", "rewards has 24 bytes by its shape and 28 in the body"),
        ("header.rewards.shape.extend([1] * 16)", "max_dimensions is 16 and 17 came"),
        ("header.rewards.offset += 1", "starts at .* no array starts that is still free"),
        ("header.rewards.offset = header.action_log_probs.offset", "still free"),
        ("header.rewards.dtype = 0", "rewards has dtype number 0"),
        ("header.rewards.dtype = 99", "rewards has dtype number 99"),
        ("header.rewards.dtype = 4", "rewards is int32; it is float32"),
        ("header.rewards.dtype = 13", "rewards has dtype number 13"),
        ("header.ClearField('rewards')", "rewards has dtype number 0"),
        ("header.observations[1].name = '/camera'", "observations has '/camera' twice"),
        ("header.observations[0].tensor.dtype = 1", "neither 0 nor 1"),
        ("header.episodes.lengths.append(1)", "returns and .* lengths"),
        ("header.episodes.lengths[0] = 2**63", "more than 2\\*\\*63 - 1 steps"),
        ("header.statistics.total_s = float('nan')", "finite"),
    ],
)
def test_a_header_that_lies_is_refused(change: str, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        decode_fragment_frame(_lie(change))


@pytest.mark.parametrize(
    ("name", "size"), [("max_rows", 7), ("max_streams", 2), ("max_episodes", 2), ("max_arrays", 17)]
)
def test_a_fragment_over_a_limit_is_refused_by_the_name_of_the_limit(name: str, size: int) -> None:
    message = encode_fragment(example_fragment()).to_bytes()
    assert isinstance(decode_fragment(message, Limits(**{name: size})), Fragment)
    with pytest.raises(WireError, match=f"{name} is {size - 1} and {size} came"):
        decode_fragment(message, Limits(**{name: size - 1}))


def test_bytes_of_something_else_are_no_fragment() -> None:
    with pytest.raises(WireError, match="no fragment"):
        decode_fragment_frame(Frame(b"\xff\xff\xff", []))
