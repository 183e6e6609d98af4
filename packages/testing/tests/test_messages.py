"""What counts as the same message."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from outrider.testing.messages import example_fragment, example_weights, random_fragment, same_message


def test_twins_are_the_same() -> None:
    assert same_message(example_fragment(), example_fragment())
    assert same_message(random_fragment(3), random_fragment(3))


def test_fragments_of_other_seeds_differ() -> None:
    assert not same_message(random_fragment(3), random_fragment(4))


@pytest.mark.parametrize(
    "tensor", [np.zeros(2), np.zeros((2, 1), np.float32), np.array([0, -0.0], np.float32)]
)
def test_another_dtype_shape_or_bit_differs(tensor: np.ndarray) -> None:
    zeros = replace(example_weights(), tensors={"a": np.zeros(2, np.float32)})
    assert not same_message(replace(zeros, tensors={"a": tensor}), zeros)


def test_another_name_differs() -> None:
    zeros = np.zeros(2, np.float32)
    assert not same_message({"a": zeros}, {"b": zeros})
