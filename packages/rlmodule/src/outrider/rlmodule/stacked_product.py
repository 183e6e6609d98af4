"""A linear layer of P policies as batched products. Axes: P policies; B rows of each; I in; O out."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FAR_BYTES = 4 << 20
"""Weights of more bytes are in no cache when a product comes to them."""
LARGE_BYTES = 8 << 10
"""From here on it takes less time to read a policy's matrix than to wait for it."""
PART = 64
"""Policies whose matrices are read ahead."""


class WeightGradient(NamedTuple):
    """The gradient of weights [P, O, I] as what it is a product of."""

    gradient_PBO: Tensor
    rows_PBI: Tensor

    def of(self, places: slice) -> Tensor:
        """Return that of some policies [T, O, I]."""
        return torch.bmm(self.gradient_PBO[places].transpose(1, 2), self.rows_PBI[places])


class WeightGradients:
    """Gradients of weights that backward passes left out."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        """Begin without any, to gather those of these weights."""
        self._parts: dict[int, list[WeightGradient]] = {id(weight): [] for weight in weights}

    def add(self, weight_POI: Tensor, part: WeightGradient) -> bool:
        """Take in what one use of weights adds to their gradient; return whether it is of these weights.

        What is computed of weights, such as some side by side with others, is not: its gradient goes on.
        """
        parts = self._parts.get(id(weight_POI))
        if parts is None:
            return False
        parts.append(part)
        return True

    def of(self, weight: Tensor) -> WeightGradient | None:
        """Return the gradient of weights; None where none was left out."""
        parts = self._parts.get(id(weight), [])
        if len(parts) < 2:
            return parts[0] if parts else None
        return WeightGradient(*(torch.cat(factors, 1) for factors in zip(*parts, strict=True)))


_left_out: ContextVar[WeightGradients | None] = ContextVar("left_out", default=None)


@contextmanager
def weight_gradients_left_out(weights: Iterable[Tensor]) -> Iterator[WeightGradients]:
    """Leave gradients of these weights out of backward passes on this thread; gather them in what is yielded.

    They are the largest tensors of a step, and are quicker to compute when they are needed, a few policies at
    a time, in a cache. Backward passes on other threads, as those of a GPU, return them as always.
    """
    left_out = WeightGradients(weights)
    token = _left_out.set(left_out)
    try:
        yield left_out
    finally:
        _left_out.reset(token)


def weight_gradient(weight_POI: Tensor, gradient_PBO: Tensor, rows_PBI: Tensor) -> Tensor | None:
    """Return the gradient of weights whose product with rows has this gradient; None where it is left out."""
    of_weight, left_out = WeightGradient(gradient_PBO, rows_PBI), _left_out.get()
    if left_out is not None and left_out.add(weight_POI, of_weight):
        return None
    return of_weight.of(slice(None))


class StackedProduct(torch.autograd.Function):
    """rows @ weight.T + bias for each policy, with gradients that lie as what they are gradients of.

    The weights' gradient is gradient.T @ rows. Autograd would take that of their transpose,
    rows.T @ gradient, and then transpose all of it; were the layer computed as weight @ rows.T, the rows'
    gradient would be slow. P = 256, 4 rows, 64 x 64, a core of an AMD EPYC, ms forward and backward to rows
    and weights: 0.24 + 0.20 + 0.20, by autograd 0.24 + 0.20 + 1.09, the other way round 0.47 + 1.03 + 0.20.
    """

    @staticmethod
    def forward(ctx: Any, rows_PBI: Tensor, weight_POI: Tensor, bias_PO: Tensor) -> Tensor:  # noqa: ANN401
        """Save what the gradients need, and multiply."""
        ctx.save_for_backward(rows_PBI, weight_POI)
        return _multiply(rows_PBI, weight_POI.transpose(1, 2), bias_PO)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # noqa: ANN401
        """Return the gradients of rows, weights and bias, those that are wanted and not left out."""
        rows_PBI, weight_POI = ctx.saved_tensors
        (gradient_PBO,) = gradients
        wants_rows, wants_weight, wants_bias = ctx.needs_input_grad
        of_rows = _multiply(gradient_PBO, weight_POI) if wants_rows else None
        of_bias = gradient_PBO.sum(1) if wants_bias else None
        of_weight = weight_gradient(weight_POI, gradient_PBO, rows_PBI) if wants_weight else None
        return of_rows, of_weight, of_bias


def _multiply(rows_PBI: Tensor, matrix_PIO: Tensor, bias_PO: Tensor | None = None) -> Tensor:
    """Return rows @ matrix + bias for each policy.

    A product leaps through a matrix and waits for each line of it, if it is far; reading it in order first
    brings it near. P = 1,000, 5 rows, 64 x 64, a core of an AMD EPYC: 4.0 ms without, 2.8 with, 1.4 were they
    near already.
    """
    if not _is_far(matrix_PIO):
        return _product(rows_PBI, matrix_PIO, bias_PO)
    product_PBO = rows_PBI.new_empty((*rows_PBI.shape[:2], matrix_PIO.shape[2]))
    for start in range(0, len(matrix_PIO), PART):
        part = slice(start, start + PART)
        matrix_PIO[part].sum()
        _product(
            rows_PBI[part], matrix_PIO[part], None if bias_PO is None else bias_PO[part], product_PBO[part]
        )
    return product_PBO


def _product(
    rows_PBI: Tensor, matrix_PIO: Tensor, bias_PO: Tensor | None, out: Tensor | None = None
) -> Tensor:
    if bias_PO is not None:
        return torch.baddbmm(bias_PO.unsqueeze(1), rows_PBI, matrix_PIO, out=out)
    if matrix_PIO.shape[1] == 1:
        # No sum, and the product of matrices takes ten times as long there.
        return torch.mul(rows_PBI, matrix_PIO, out=out)
    return torch.bmm(rows_PBI, matrix_PIO, out=out)


def _is_far(matrix_PIO: Tensor) -> bool:
    size = matrix_PIO.nbytes
    return size > FAR_BYTES and size >= LARGE_BYTES * len(matrix_PIO) and matrix_PIO.device.type == "cpu"
