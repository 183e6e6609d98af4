"""Columns that travel packed come back as they were, and no sender decides how much memory that takes."""

from __future__ import annotations

import sys
import tracemalloc
from dataclasses import replace
from typing import Any

import lz4.block
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from outrider.testing.messages import image_fragment, random_fragment, same_message
from outrider.wire import (
    Compression,
    Fragment,
    Frame,
    Limits,
    WireError,
    capabilities,
    decode_fragment,
    decode_fragment_frame,
    encode_fragment,
)
from outrider.wire.frame import starts
from outrider.wire.v1 import fragment_pb2, tensor_pb2

every_compression = pytest.mark.parametrize("compression", ["lz4", "zstd"])
PACKED = {"lz4": tensor_pb2.COMPRESSION_LZ4, "zstd": tensor_pb2.COMPRESSION_ZSTD}


def _noise(num_rows: int) -> Fragment:
    fragment = image_fragment(num_rows)
    noise = np.random.default_rng(1).integers(0, 256, (num_rows, 32, 32)).astype(np.uint8)
    return replace(fragment, observations={"": noise})


def _header(frame: Frame) -> fragment_pb2.FragmentHeader:
    return fragment_pb2.FragmentHeader.FromString(frame.header)


@every_compression
def test_columns_that_shrink_travel_packed_and_come_back_as_they_were(compression: Compression) -> None:
    fragment = image_fragment(2000)
    frame = encode_fragment(fragment, compression=compression)
    header = _header(frame)
    assert header.observations[0].tensor.compression == PACKED[compression]
    assert header.actions[0].tensor.compression == PACKED[compression]
    assert frame.num_bytes < encode_fragment(fragment).num_bytes / 20
    message = frame.to_bytes()
    decoded = decode_fragment(message)
    assert same_message(decoded, fragment)
    assert same_message(decode_fragment_frame(Frame.from_parts(frame.header, frame.buffers)), fragment)
    assert not decoded.observations[""].flags.writeable


@every_compression
def test_what_is_small_or_fractional_or_noise_travels_as_it_is(compression: Compression) -> None:
    fragment = _noise(2000)
    header = _header(encode_fragment(fragment, compression=compression))
    assert not header.observations[0].tensor.HasField("compression")  # noise
    assert not header.rewards.HasField("compression")  # fractional, 8,000 bytes
    assert not header.terminated.HasField("compression")  # 2,000 bytes


@every_compression
@given(seed=st.integers(0, 2**32 - 1))
def test_any_fragment_comes_back_as_it_was(compression: Compression, seed: int) -> None:
    fragment = random_fragment(seed, num_streams=9, max_length=700)
    assert same_message(
        decode_fragment(encode_fragment(fragment, compression=compression).to_bytes()), fragment
    )


@every_compression
def test_a_stock_protobuf_library_finds_the_packed_bytes(compression: Compression) -> None:
    fragment = image_fragment()
    message = fragment_pb2.Fragment.FromString(encode_fragment(fragment, compression=compression).to_bytes())
    tensor = message.header.observations[0].tensor
    sizes, place = list(message.array_sizes), 0
    for size in sizes:
        place += -place % 64
        if place == tensor.offset:
            break
        place += size
    packed = message.body[place : place + size]
    if compression == "zstd":
        unpacked = zstandard.ZstdDecompressor().decompress(packed)
    else:
        unpacked = lz4.block.decompress(packed, uncompressed_size=40 * 1024)
    assert unpacked == fragment.observations[""].tobytes()


def _lie(packed: bytes, compression: str, shape: tuple[int, ...] = (40, 32, 32), number: Any = None) -> Frame:
    """Return the frame of images whose packed bytes were replaced."""
    frame = encode_fragment(image_fragment(), compression=compression)  # type: ignore[arg-type]
    header = _header(frame)
    tensor = header.observations[0].tensor
    place = starts(map(len, frame.buffers)).index(tensor.offset)
    # What stands behind is moved to where it starts now.
    old, new = len(frame.buffers[place]), len(packed)
    shift = -(-new // 64) * 64 - -(-old // 64) * 64
    for other in _tensors(header):
        if other.offset > tensor.offset:
            other.offset += shift
    tensor.ClearField("shape")
    tensor.shape.extend(shape)
    if number is not None:
        tensor.compression = number
    buffers = [*frame.buffers[:place], memoryview(packed), *frame.buffers[place + 1 :]]
    return Frame(header.SerializeToString(), buffers)


def _tensors(header: fragment_pb2.FragmentHeader) -> list[tensor_pb2.Tensor]:
    found = [
        *(getattr(header.streams, name) for name in ("lengths", "policy", "environment", "agent")),
        *(getattr(header, name) for name in ("rewards", "terminated", "truncated", "next_rows")),
        *(getattr(header, name) for name in ("action_log_probs", "action_parameters", "policy_version")),
    ]
    columns = (header.observations, header.actions, header.next_observations, header.streams.state)
    return found + [named.tensor for column in columns for named in column]


IMAGES = image_fragment().observations[""].tobytes()


def test_the_lies_below_are_right_before_they_are_told() -> None:
    zstd = zstandard.ZstdCompressor(level=19).compress(IMAGES)
    assert same_message(decode_fragment(_lie(zstd, "zstd").to_bytes()), image_fragment())
    block = lz4.block.compress(IMAGES, store_size=False)
    assert same_message(decode_fragment(_lie(block, "lz4").to_bytes()), image_fragment())


@pytest.mark.parametrize(
    ("packed", "sentence"),
    [
        (zstandard.compress(IMAGES[:-1]), "states 40959 bytes where 40960 are due"),
        (zstandard.compress(IMAGES + b"a"), "states 40961 bytes where 40960 are due"),
        (zstandard.compress(bytes(2**26)), "states 67108864 bytes where 40960 are due"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(IMAGES), "states -1 bytes"),
        (zstandard.compress(IMAGES) + b"a", "unused data"),
        (zstandard.compress(IMAGES) * 2, "unused data"),
        (zstandard.compress(IMAGES)[:-1], "no Zstandard frame of 40960 bytes"),
        (b"\x50\x2a\x4d\x18\0\0\0\0" + zstandard.compress(IMAGES), "states 0 bytes"),
        (b"noise", "no Zstandard frame"),
    ],
)
def test_a_zstandard_frame_that_is_not_exactly_the_array_is_refused(packed: bytes, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        decode_fragment(_lie(packed, "zstd").to_bytes())


def _block(size: int) -> bytes:
    return bytes(lz4.block.compress(bytes(size), store_size=False))


@pytest.mark.parametrize(
    ("packed", "sentence"),
    [
        (_block(40 * 1024 - 1), "of 40959 bytes where 40960 are due"),
        (_block(40 * 1024 + 1), "no LZ4 block of 40960 bytes"),
        (_block(2**24), "no LZ4 block of 40960 bytes"),
        (lz4.block.compress(IMAGES, store_size=False) + b"a", "no LZ4 block"),
        (lz4.block.compress(IMAGES, store_size=False)[:-1], "no LZ4 block"),
        (bytes(lz4.block.compress(IMAGES)), "no LZ4 block"),
        (b"noise" * 40, "no LZ4 block"),
        (b"noise", "40960 bytes in an LZ4 block of 5"),
    ],
)
def test_an_lz4_block_that_is_not_exactly_the_array_is_refused(packed: bytes, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        decode_fragment(_lie(packed, "lz4").to_bytes())


@pytest.mark.parametrize("number", [0, 3, 77])
def test_a_compression_that_is_not_known_is_refused(number: int) -> None:
    with pytest.raises(WireError, match=f"compression number {number}, which is not known here"):
        decode_fragment(_lie(IMAGES, "lz4", number=number).to_bytes())


@every_compression
def test_what_a_message_unpacks_to_is_limited_all_arrays_together(compression: Compression) -> None:
    message = encode_fragment(image_fragment(2000), compression=compression).to_bytes()
    images, actions = 2000 * 1024, 2000 * 8
    with pytest.raises(WireError, match=f"max_decompressed_bytes is {images} and {images + actions} came"):
        decode_fragment(message, Limits(max_decompressed_bytes=images))
    decode_fragment(message, Limits(max_decompressed_bytes=images + actions))


@every_compression
def test_nothing_is_reserved_before_it_is_known_to_be_allowed(compression: Compression) -> None:
    shape = (2**20, 32)
    bomb = np.zeros(shape, np.uint8)
    packed = zstandard.compress(bomb) if compression == "zstd" else _block(bomb.nbytes)
    claims = _lie(packed, compression, shape).to_bytes()
    smaller = _lie(packed, compression, (40, 32, 32)).to_bytes()
    del bomb
    tracemalloc.start()
    try:
        for message, sentence in ((claims, "max_decompressed_bytes"), (smaller, "40960")):
            with pytest.raises(WireError, match=sentence):
                decode_fragment(message, Limits(max_decompressed_bytes=2**20))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2**20


def test_a_library_that_is_not_installed_is_no_capability_and_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert capabilities() == {"bfloat16", "lz4", "multi_agent", "zstd"}
    message = encode_fragment(image_fragment(), compression="zstd").to_bytes()
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert capabilities() == {"bfloat16", "lz4", "multi_agent"}
    with pytest.raises(ValueError, match="needs zstandard, which is not installed here"):
        encode_fragment(image_fragment(), compression="zstd")
    with pytest.raises(WireError, match="'zstd' needs zstandard"):
        decode_fragment(message)


def test_a_compression_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="'gzip'; it is one of none, lz4, zstd"):
        encode_fragment(image_fragment(), compression="gzip")  # type: ignore[arg-type]
