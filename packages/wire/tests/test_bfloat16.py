"""Rounding to bfloat16, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from outrider.wire.bfloat16 import narrow, widen


@pytest.mark.parametrize(
    ("bits", "rounded"),
    [
        (0x3F800000, 0x3F80),  # 1 is exact
        (0x3F808000, 0x3F80),  # halfway, the last place is even: down
        (0x3F818000, 0x3F82),  # halfway, the last place is odd: up
        (0x3F808001, 0x3F81),  # above half
        (0x3F807FFF, 0x3F80),  # below half
        (0x3FFFFFFF, 0x4000),  # carries into the exponent
        (0x7F7FFFFF, 0x7F80),  # the largest float32 rounds to infinity
        (0x80000000, 0x8000),  # minus zero
        (0x7F800000, 0x7F80),  # infinity
        (0x7FFFFFFF, 0x7FC0),  # NaN stays NaN though its carry would make it minus zero
        (0x7F800001, 0x7FC0),  # NaN stays NaN though its upper half is that of infinity
        (0xFFFFFFFF, 0x7FC0),  # NaN of either sign
    ],
)
def test_rounds_to_nearest_and_ties_to_even(bits: int, rounded: int) -> None:
    number = np.array([bits], np.uint32).view(np.float32)
    assert narrow(number).tolist() == [rounded]


def test_every_bfloat16_but_nan_survives_the_way_through_float32() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    numbers = widen(bits)
    same = narrow(numbers) == bits
    assert same[~np.isnan(numbers)].all()


def test_shape_is_kept() -> None:
    for shape in ((), (0,), (2, 3)):
        assert widen(narrow(np.ones(shape, np.float32))).shape == shape


def test_arrays_in_any_layout_are_rounded() -> None:
    numbers = np.arange(12, dtype=np.float32).reshape(3, 4).T[::2]
    assert widen(narrow(numbers)).tolist() == numbers.tolist()
