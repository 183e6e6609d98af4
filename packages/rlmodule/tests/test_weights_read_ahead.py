"""Weights that are read ahead of a product, and gradients that are left for later, change no result."""

from __future__ import annotations

import pytest
import torch

from outrider.rlmodule import stacked_product
from outrider.rlmodule.stacked_product import StackedProduct, weight_gradients_left_out


def test_weights_that_are_read_ahead_give_the_same_product_and_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((5, 3, 4), (5, 6, 4), (5, 6))
    given = [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]
    rows, weight, bias = given
    expected = torch.stack([rows[p] @ weight[p].T + bias[p] for p in range(5)])
    expected_gradients = torch.autograd.grad(expected.square().sum(), given)
    for name, number in {"FAR_BYTES": 0, "LARGE_BYTES": 0, "PART": 2}.items():
        monkeypatch.setattr(stacked_product, name, number)
    product = StackedProduct.apply(*given)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(product, expected)
    torch.testing.assert_close(torch.autograd.grad(product.square().sum(), given), expected_gradients)


def test_gradients_of_weights_that_are_left_out_are_found_and_are_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((5, 3, 4), (5, 4, 4), (5, 4))
    given = [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]
    rows, weight, bias = given

    def loss() -> torch.Tensor:
        once = StackedProduct.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
        twice = StackedProduct.apply(once.tanh(), weight, bias)  # type: ignore[no-untyped-call]
        return twice.square().sum()  # type: ignore[no-any-return]

    of_rows, of_weight, of_bias = torch.autograd.grad(loss(), given)
    with weight_gradients_left_out([weight]) as left_out:
        found = torch.autograd.grad(loss(), given, allow_unused=True)
    assert found[1] is None
    product = left_out.of(weight)
    assert product is not None
    assert left_out.of(bias) is None
    torch.testing.assert_close((found[0], found[2]), (of_rows, of_bias))
    torch.testing.assert_close(product.of(slice(1, 4)), of_weight[1:4])


def test_what_is_computed_of_weights_hands_its_gradient_on_to_them() -> None:
    rows = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    weight, bias = torch.ones(5, 2, 4, requires_grad=True), torch.zeros(5, 3)

    def loss() -> torch.Tensor:
        joined = torch.cat((weight, torch.zeros(5, 1, 4)), 1)
        product = StackedProduct.apply(rows, joined, bias)  # type: ignore[no-untyped-call]
        return product.square().sum()  # type: ignore[no-any-return]

    (expected,) = torch.autograd.grad(loss(), [weight])
    with weight_gradients_left_out([weight]) as left_out:
        (found,) = torch.autograd.grad(loss(), [weight])
    torch.testing.assert_close(found, expected)
    assert left_out.of(weight) is None
