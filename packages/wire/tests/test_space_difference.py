"""When two spaces are the same, and what is said where they differ."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from outrider.testing.messages import example_spaces
from outrider.wire import (
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
    space_difference,
)


def test_spaces_of_different_kinds_differ_and_each_is_the_same_as_its_twin() -> None:
    ours, twins = example_spaces(), example_spaces()
    for a, b in itertools.product(ours, twins):
        assert (space_difference(ours[a], twins[b]) is None) == (a == b)


def _box(*low: float, dtype: type[np.generic] = np.float32) -> BoxSpace:
    return BoxSpace(low=np.array(low, dtype), high=np.full(len(low), 9, dtype))


def _multi(*num_values: int, start: int = 0) -> MultiDiscreteSpace:
    return MultiDiscreteSpace(num_values=np.array(num_values), start=np.full(len(num_values), start))


ONE, TWO = DiscreteSpace(num_values=1), DiscreteSpace(num_values=2)
BIT = MultiBinarySpace(shape=(1,))


@pytest.mark.parametrize(
    ("theirs", "ours", "sentence"),
    [
        (_box(0, 0, 0), _box(0, 0, 0, 0), "shape is (3,) there and (4,) here"),
        (_box(0), _box(0, dtype=np.float64), "dtype is float32 there and float64 here"),
        (_box(0, 1), _box(0, 2), "low[1] is 1.0 there and 2.0 here"),
        (
            BoxSpace(low=np.zeros((2, 2)), high=np.full((2, 2), 2.0)),
            BoxSpace(low=np.zeros((2, 2)), high=np.array([[2.0, 2.0], [3.0, 2.0]])),
            "high[1, 0] is 2.0 there and 3.0 here",
        ),
        (ONE, TWO, "num_values is 1 there and 2 here"),
        (ONE, DiscreteSpace(num_values=1, start=5), "start is 0 there and 5 here"),
        (_multi(2, 3), _multi(2, 4), "num_values[1] is 3 there and 4 here"),
        (_multi(2), _multi(2, start=1), "start[0] is 0 there and 1 here"),
        (BIT, MultiBinarySpace(shape=(2,)), "shape is (1,) there and (2,) here"),
        (ONE, BIT, "there is a Discrete there and a MultiBinary here"),
        (
            TextSpace(min_length=0, max_length=4, characters="ab"),
            TextSpace(min_length=0, max_length=5, characters="ab"),
            "max_length is 4 there and 5 here",
        ),
        (
            DictSpace(spaces={"a": ONE, "b/c": TupleSpace(spaces=(ONE, ONE))}),
            DictSpace(spaces={"a": ONE, "b/c": TupleSpace(spaces=(ONE, TWO))}),
            "/b~1c/1: num_values is 1 there and 2 here",
        ),
        (DictSpace(spaces={"a": ONE}), DictSpace(spaces={}), "/a: it is there and not here"),
        (DictSpace(spaces={}), DictSpace(spaces={"a": ONE}), "/a: it is missing there and it is here"),
        (
            DictSpace(spaces={"a": ONE, "b": TWO}),
            DictSpace(spaces={"b": TWO, "a": ONE}),
            "the order is ['a', 'b'] there and ['b', 'a'] here",
        ),
        (TupleSpace(spaces=(BIT,)), TupleSpace(spaces=(BIT, BIT)), "number of spaces is 1 there and 2 here"),
        (OneOfSpace(spaces=(ONE,)), OneOfSpace(spaces=(TWO,)), "/0: num_values is 1 there and 2 here"),
        (
            SequenceSpace(element=ONE),
            SequenceSpace(element=ONE, stacked=True),
            "stacked is False there and True here",
        ),
        (
            SequenceSpace(element=ONE),
            SequenceSpace(element=TWO),
            "/element: num_values is 1 there and 2 here",
        ),
        (
            GraphSpace(node=ONE, edge=None),
            GraphSpace(node=ONE, edge=TWO),
            "/edge: there is none there and a Discrete here",
        ),
    ],
)
def test_the_first_difference_is_named(theirs: Space, ours: Space, sentence: str) -> None:
    assert space_difference(theirs, ours) == sentence
    assert space_difference(ours, theirs) is not None
    assert space_difference(theirs, theirs) is None


def test_who_reads_it_is_told_where_there_and_here_are() -> None:
    said = space_difference(ONE, TWO, there="on the farm", here="in the run")
    assert said == "num_values is 1 on the farm and 2 in the run"
