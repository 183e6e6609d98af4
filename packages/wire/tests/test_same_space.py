"""When two spaces are the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from outrider.testing.messages import example_spaces
from outrider.wire import BoxSpace, DictSpace, DiscreteSpace, MultiBinarySpace, TupleSpace, same_space


def test_spaces_of_different_kinds_differ_and_each_is_the_same_as_its_twin() -> None:
    ours, twins = example_spaces(), example_spaces()
    for a, b in itertools.product(ours, twins):
        assert same_space(ours[a], twins[b]) == (a == b)


@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_a_box_of_another_dtype_differs(dtype: type[np.generic]) -> None:
    zero = np.zeros(2, np.float32)
    a, b = BoxSpace(low=zero, high=zero), BoxSpace(low=zero.astype(dtype), high=zero.astype(dtype))
    assert not same_space(a, b)


def test_the_order_of_a_dict_counts_since_it_orders_columns() -> None:
    one, two = DiscreteSpace(num_values=1), DiscreteSpace(num_values=2)
    assert not same_space(DictSpace(spaces={"a": one, "b": two}), DictSpace(spaces={"b": two, "a": one}))


def test_a_longer_tuple_differs() -> None:
    bit = MultiBinarySpace(shape=(1,))
    assert not same_space(TupleSpace(spaces=(bit,)), TupleSpace(spaces=(bit, bit)))
