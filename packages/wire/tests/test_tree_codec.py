"""Trees of plain values and arrays cross unchanged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.wire import Limits, WireError, decode_tree, encode_tree
from outrider.wire.v1 import tree_pb2


def _crossed(value: Any) -> Any:
    return decode_tree(encode_tree(value).to_bytes())


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**200), max_value=2**200)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.binary(max_size=200),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters(codec="utf-8")), children),
    max_leaves=20,
)


@given(plain_values)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    crossed = _crossed(value)
    assert crossed == value
    assert repr(crossed) == repr(value)  # 1 is no True, and -0.0 no 0.0


@pytest.mark.parametrize("dtype", ["?", "i1", "<i8", ">i4", "u1", "<u8", "<f2", "<f4", ">f8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (2, 3)])
def test_arrays_come_back_as_they_were_and_read_only(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    crossed = _crossed({"a": [array]})["a"][0]
    assert np.array_equal(crossed, array)
    assert crossed.dtype == array.dtype.newbyteorder("=")
    assert crossed.shape == shape
    assert not crossed.flags.writeable


def test_a_tuple_becomes_a_list_and_a_scalar_a_number() -> None:
    crossed = _crossed((np.float32(0.5), np.int8(-3), np.True_, np.float64(math.inf)))
    assert crossed == [0.5, -3, True, math.inf]
    assert [type(value) for value in crossed] == [float, int, bool, float]


def test_the_state_of_a_generator_survives() -> None:
    state = np.random.Philox(5).state
    random = np.random.Philox()
    crossed = _crossed(state)
    random.state = crossed
    assert np.random.Generator(random).random() == np.random.Generator(np.random.Philox(5)).random()


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"a": {"b": object}}, "/a/b: <class 'object'> has no plain form"),
        ({"a": [1, 2j]}, "/a/1: 2j has no plain form"),
        ({1: 2}, "the tree: a mapping has the key 1"),
        ({"a": np.zeros(2, complex)}, "/a: dtype complex128 cannot cross the wire"),
        ({"a": 10**5000}, "/a: a whole number of more than 4,096 digits"),
        ("\ud800", "the tree: .*(surrogates|unicode)"),
    ],
)
def test_what_has_no_plain_form_is_refused_with_its_place(value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        encode_tree(value)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_a_tree_is_at_most_32_deep() -> None:
    assert _crossed(_nested(32)) == _nested(32)
    with pytest.raises(ValueError, match="at most 32 values within each other"):
        encode_tree(_nested(33))
    with pytest.raises(WireError, match="max_tree_nesting is 5"):
        decode_tree(encode_tree(_nested(6)).to_bytes(), Limits(max_tree_nesting=5))


@pytest.mark.parametrize(
    ("root", "sentence"),
    [
        ({}, "a value of no kind known here"),
        ({"none": False}, "`none` that is false"),
        ({"long_integer": "1_0"}, "is no whole number"),
        ({"long_integer": "+1"}, "is no whole number"),
        ({"long_integer": "9" * 4097}, "is no whole number"),
        ({"list": {"values": [{"integer": 1}, {}]}}, "/1: a value of no kind"),
        ({"map": {"entries": [{"name": "a", "value": {"integer": 1}}] * 2}}, "a name that occurs twice"),
        ({"data": {"dtype": 4, "shape": [0]}}, "bytes are int32 of shape \\(0,\\)"),
        ({"array": {"shape": [1]}}, "dtype number 0"),
        ({"array": {"dtype": 6, "shape": [1]}}, "where no array starts"),
    ],
)
def test_a_tree_that_breaks_a_rule_is_refused(root: dict[str, Any], sentence: str) -> None:
    header = tree_pb2.TreeHeader(root=root).SerializeToString()
    with pytest.raises(WireError, match=sentence):
        decode_tree(tree_pb2.Tree(header=tree_pb2.TreeHeader.FromString(header)).SerializeToString())
