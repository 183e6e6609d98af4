"""Spaces of every kind to bytes and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from outrider.testing.messages import example_spaces
from outrider.wire import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    GraphSpace,
    Limits,
    MultiBinarySpace,
    MultiDiscreteSpace,
    OneOfSpace,
    SequenceSpace,
    Space,
    TextSpace,
    TupleSpace,
    WireError,
    decode_space,
    encode_space,
    space_difference,
)
from outrider.wire.tensor import DTYPES
from outrider.wire.v1 import space_pb2

SHAPES = hnp.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=3)
INT32 = st.integers(-(2**31), 2**31 - 1)


@st.composite
def boxes(draw: st.DrawFn) -> BoxSpace:
    dtype, shape = draw(st.sampled_from(list(DTYPES.values()))), draw(SHAPES)
    options: dict[str, Any] = {"allow_nan": False} if dtype.kind == "f" else {}
    elements = hnp.from_dtype(dtype, **options)
    bounds = [draw(hnp.arrays(dtype, shape, elements=elements)) for _ in range(2)]
    return BoxSpace(low=np.minimum(*bounds), high=np.maximum(*bounds))


@st.composite
def multi_discretes(draw: st.DrawFn) -> MultiDiscreteSpace:
    shape = draw(SHAPES)
    num_values = draw(hnp.arrays(np.int64, shape, elements=st.integers(1, 2**31)))
    return MultiDiscreteSpace(num_values=num_values, start=draw(hnp.arrays(np.int64, shape, elements=INT32)))


NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
DISCRETES = st.builds(DiscreteSpace, num_values=st.integers(1, 2**31), start=INT32)
TEXTS = st.builds(
    lambda shortest, more, characters: TextSpace(
        min_length=shortest, max_length=shortest + more, characters="".join(sorted(characters))
    ),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sets(st.characters(exclude_categories=["Cs"]), max_size=5),
)
GRAPH_PARTS = boxes() | DISCRETES
LEAVES = (
    GRAPH_PARTS
    | multi_discretes()
    | st.builds(MultiBinarySpace, shape=SHAPES)
    | TEXTS
    | st.builds(GraphSpace, node=GRAPH_PARTS, edge=st.none() | GRAPH_PARTS)
)
SPACES: st.SearchStrategy[Space] = st.recursive(
    LEAVES,
    lambda children: (
        st.builds(DictSpace, spaces=st.dictionaries(NAMES, children, max_size=3))
        | st.builds(TupleSpace, spaces=st.lists(children, max_size=3).map(tuple))
        | st.builds(OneOfSpace, spaces=st.lists(children, min_size=1, max_size=3).map(tuple))
        | st.builds(SequenceSpace, element=children, stacked=st.booleans())
    ),
    max_leaves=6,
)


@given(space=SPACES)
def test_every_space_comes_back_as_it_was(space: Space) -> None:
    assert space_difference(decode_space(encode_space(space)), space) is None


@pytest.mark.parametrize("name", example_spaces())
def test_a_space_of_every_kind_comes_back_as_it_was(name: str) -> None:
    space = example_spaces()[name]
    assert space_difference(decode_space(encode_space(space)), space) is None


def test_equal_bounds_are_sent_and_kept_once() -> None:
    shape = (1000, 1000)
    message = encode_space(BoxSpace(low=np.zeros(shape, np.float32), high=np.ones(shape, np.float32)))
    space = decode_space(message)
    assert len(message) < 40
    assert isinstance(space, BoxSpace)
    assert space.low.shape == shape
    assert space.low.strides == (0, 0)


def test_spaces_are_nested_as_deep_as_the_limit_and_no_deeper() -> None:
    space: Space = DiscreteSpace(num_values=2)
    for _ in range(15):
        space = TupleSpace(spaces=(space,))
    assert space_difference(decode_space(encode_space(space)), space) is None
    with pytest.raises(WireError, match="max_nesting is 16 and 17 came"):
        decode_space(encode_space(TupleSpace(spaces=(space,))))


def test_nesting_that_protobuf_itself_refuses_is_a_wire_error() -> None:
    message = b""
    for _ in range(60):  # of two protobuf messages each, which makes more than its 100
        entry = b"\x0a" + _varint(len(message)) + message
        message = b"\x3a" + _varint(len(entry)) + entry
    with pytest.raises(WireError, match="no space"):
        decode_space(message)


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ({}, "no kind"),
        ({"box": {"dtype": 11, "shape": [2], "low": b"", "high": b""}}, "bounds of 0 bytes for 2 elements"),
        ({"box": {"dtype": 5, "shape": [2**40], "low": bytes(8), "high": bytes(8)}}, "max_message_bytes"),
        ({"box": {"dtype": 6, "shape": [2**25], "low": b"0", "high": b"1"}}, "max_space_elements"),
        ({"box": {"dtype": 6, "shape": [0, 2**62], "low": b"", "high": b""}}, "max_message_bytes"),
        ({"box": {"dtype": 6, "shape": [2], "low": b"\2", "high": b"\1"}}, "above its upper bound"),
        ({"box": {"dtype": 11, "shape": [], "low": b"\0\0\xc0\x7f", "high": bytes(4)}}, "or NaN"),
        ({"box": {"dtype": 1, "shape": [], "low": b"\0", "high": b"\2"}}, "neither 0 nor 1"),
        ({"box": {"dtype": 13, "shape": [], "low": b"\0\0", "high": b"\0\0"}}, "dtype number 13"),
        ({"discrete": {"num_values": 0}}, "1 or more"),
        ({"discrete": {"num_values": 2**63 - 1, "start": 1}}, "within int64"),
        ({"multi_discrete": {"shape": [2], "num_values": [1]}}, "1 ranges"),
        ({"multi_discrete": {"shape": [2], "num_values": [1, 0]}}, "no values"),
        ({"multi_discrete": {"shape": [1], "num_values": [2], "start": [1, 2]}}, "2 starts"),
        ({"multi_binary": {"shape": [1] * 17}}, "max_dimensions"),
        ({"text": {"min_length": 2, "max_length": 1}}, "2 to 1 characters"),
        ({"text": {"characters": "aa"}}, "occurs twice"),
        ({"dict": {"entries": [{"name": "a", "space": {"multi_binary": {}}}] * 2}}, "name that occurs twice"),
        ({"dict": {"entries": [{"name": "a"}]}}, "no kind"),
        ({"graph": {"node": {"multi_binary": {}}}}, "neither Box nor Discrete"),
        ({"one_of": {}}, "OneOf of no spaces"),
    ],
)
def test_what_is_no_space_is_refused(message: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        decode_space(space_pb2.Space(**message).SerializeToString())


def test_what_is_none_of_our_spaces_is_not_sent() -> None:
    with pytest.raises(ValueError, match=r"'Discrete' is no space of outrider\.wire"):
        encode_space("Discrete")  # type: ignore[arg-type]


def test_a_space_that_is_too_long_to_read_is_refused() -> None:
    with pytest.raises(WireError, match="max_header_bytes is 1"):
        decode_space(b"\x1a\x00\x1a\x00", Limits(max_header_bytes=1))


def test_spaces_are_counted_before_they_are_made() -> None:
    nested = TupleSpace(spaces=(TupleSpace(spaces=(DiscreteSpace(num_values=2),) * 3),) * 3)
    assert decode_space(encode_space(nested), Limits(max_spaces=13)) == nested
    with pytest.raises(WireError, match="max_spaces is 12 and 13 came"):
        decode_space(encode_space(nested), Limits(max_spaces=12))
