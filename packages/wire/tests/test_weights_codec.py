"""Weights to bytes and back."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from outrider.testing.messages import example_weights, same_message
from outrider.wire import Frame, Weights, WireError, decode_weights, decode_weights_frame, encode_weights
from outrider.wire.tensor import DTYPES
from outrider.wire.v1 import weights_pb2

TENSORS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from(list(DTYPES.values())).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_dims=4, max_side=5))
    ),
    max_size=6,
)


@given(version=st.integers(0, 2**63 - 1), fingerprint=st.text("0af"), tensors=TENSORS)
def test_all_weights_come_back_as_they_were(
    version: int, fingerprint: str, tensors: dict[str, NDArray[np.float32]]
) -> None:
    weights = Weights(version=version, fingerprint=fingerprint, tensors=tensors)
    assert same_message(decode_weights(encode_weights(weights).to_bytes()), weights)


def test_tensors_are_read_only_views() -> None:
    message = encode_weights(example_weights()).to_bytes()
    tensor = decode_weights(message).tensors["pi/weight"]
    assert np.shares_memory(tensor, np.frombuffer(message, np.uint8))
    assert not tensor.flags.writeable


def test_named_tensors_travel_as_bfloat16_and_come_back_as_float32() -> None:
    third = np.array([1 / 3, -1 / 3, 0.5], np.float32)
    named = {"rounded": third, "kept": third, "one": np.array(1, np.float32)}
    weights = Weights(version=0, fingerprint="", tensors=named)
    tensors = decode_weights(encode_weights(weights, bfloat16=["rounded", "one"]).to_bytes()).tensors
    assert tensors["rounded"].tolist() == [0.333984375, -0.333984375, 0.5]
    assert tensors["rounded"].dtype == np.float32
    assert tensors["one"].shape == ()
    assert tensors["kept"].tolist() == third.tolist()


@pytest.mark.parametrize("name", ["observation_normalizer/mean", "nobody"])
def test_only_float32_tensors_can_be_sent_as_bfloat16(name: str) -> None:
    with pytest.raises(ValueError, match="only float32 tensors can be sent as bfloat16"):
        encode_weights(example_weights(), bfloat16=[name])


def test_the_checksum_is_that_of_the_body_as_any_language_computes_it() -> None:
    message = weights_pb2.Weights.FromString(encode_weights(example_weights()).to_bytes())
    assert message.header.body_crc32 == zlib.crc32(message.body)


def test_a_flipped_bit_in_a_weight_is_noticed() -> None:
    message = bytearray(encode_weights(example_weights()).to_bytes())
    message[-1] ^= 1
    with pytest.raises(WireError, match="checksum"):
        decode_weights(message)


def test_without_a_checksum_weights_are_taken_as_they_lie() -> None:
    message = bytearray(encode_weights(example_weights(), checksum=False).to_bytes())
    assert not weights_pb2.Weights.FromString(bytes(message)).header.HasField("body_crc32")
    assert same_message(decode_weights(message), example_weights())
    message[-1] ^= 1
    assert not same_message(decode_weights(message), example_weights())


def test_a_checksum_of_zero_is_a_checksum() -> None:
    header = weights_pb2.WeightsHeader.FromString(encode_weights(example_weights()).header)
    header.body_crc32 = 0
    with pytest.raises(WireError, match="where 00000000 was sent"):
        decode_weights_frame(Frame(header.SerializeToString(), encode_weights(example_weights()).buffers))


def test_weights_that_travel_beside_their_header_are_checked_too() -> None:
    frame = encode_weights(example_weights())
    assert same_message(decode_weights_frame(frame), example_weights())
    with pytest.raises(WireError, match="checksum"):
        decode_weights_frame(Frame.from_parts(frame.header, reversed(frame.buffers)))


def test_versions_count_from_zero() -> None:
    with pytest.raises(ValueError, match="version -1 of weights; it counts from 0"):
        encode_weights(replace(example_weights(), version=-1))
    header = weights_pb2.WeightsHeader(version=2**63).SerializeToString()
    with pytest.raises(WireError, match="counts from 0 to"):
        decode_weights_frame(Frame(header, []))
