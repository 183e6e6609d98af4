"""It makes no difference to a product whether its weights are read ahead of it."""

from __future__ import annotations

import pytest
import torch

from outrider.rlmodule import stacked_product
from outrider.rlmodule.stacked_product import StackedProduct


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
