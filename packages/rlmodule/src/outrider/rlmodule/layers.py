"""Building blocks, whose weights are zeros until `first_weights` draws them.

Axes: P policies, B rows, F features, C channels, H height, W width. All layers also compute P policies at
once: their tensors have a first axis P then, and rows are [P, B, ...].
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from outrider.rlmodule.stacked_product import StackedProduct
from outrider.rlmodule.stacked_tanh import StackedTanh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from outrider.rlmodule.settings import Activation

HIDDEN_GAIN = math.sqrt(2.0)
POLICY_HEAD_GAIN = 0.01
VALUE_HEAD_GAIN = 1.0
NATURE_CNN_WIDTH = 512
IMPALA_RESNET_WIDTH = 256
SMALLEST_NATURE_CNN_SIDE = 36


class Tanh(nn.Tanh):
    """The tanh of rows of one policy, or of P."""

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows [B, F], or [P, B, F] where weights are stacked."""
        # An exporter knows operators, and no gradients.
        if rows.dim() < 3 or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return super().forward(rows)
        result: Tensor = StackedTanh.apply(rows)  # type: ignore[no-untyped-call]
        return result


_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": Tanh,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
}


class Linear(nn.Linear):
    """A linear layer of one policy, or of P with a weight [P, out, in] and a bias [P, out]."""

    def __init__(self, num_in: int, num_out: int, *, gain: float = HIDDEN_GAIN) -> None:
        """`gain` multiplies the orthogonal matrix that it begins with."""
        super().__init__(num_in, num_out)
        self.gain = gain

    def reset_parameters(self) -> None:
        """Draw nothing."""
        zero(self)

    def forward(self, rows: Tensor) -> Tensor:
        """Map rows [B, in], or [P, B, in] where weights are stacked."""
        return product(rows, self.weight, self.bias)


def product(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return rows @ weight.T + bias, for each policy its own where these are stacked."""
    if weight.dim() == 2:
        return functional.linear(rows, weight, bias)
    # An exporter knows operators, and no gradients.
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return torch.baddbmm(bias.unsqueeze(1), rows, weight.transpose(1, 2))
    result: Tensor = StackedProduct.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
    return result


def flat(rows: Tensor, num_axes: int, width: int) -> Tensor:
    """Make the last `num_axes` axes of rows [B, ...] or [P, B, ...] one, of a width known before."""
    if rows.dim() - num_axes == 1:
        return rows.reshape(-1, width)
    return rows.reshape(rows.shape[0], rows.shape[1], width)


class Conv2d(nn.Conv2d):
    """A convolution of one policy, or of P with a weight [P, C out, C in, H, W] and a bias [P, C out].

    Flat, a policy's filters are a matrix [C out, numbers in].
    """

    gain = HIDDEN_GAIN

    def reset_parameters(self) -> None:
        """Draw nothing."""
        zero(self)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W], or [P, B, C, H, W] where weights are stacked."""
        if self.weight.dim() == 4:
            return super().forward(images)
        assert self.bias is not None
        stacked = functional.conv2d(
            _side_by_side(images),
            self.weight.flatten(0, 1),
            self.bias.flatten(),
            self.stride,
            self.padding,
            groups=len(self.weight),
        )
        return _apart(stacked, len(self.weight))


class MaxPool2d(nn.MaxPool2d):
    """The maxima of an image's parts, for one policy or P."""

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, C, H, W] or [P, B, C, H, W]."""
        if images.dim() == 4:
            alone: Tensor = super().forward(images)
            return alone
        return _apart(super().forward(_side_by_side(images)), len(images))


class Flatten(nn.Flatten):
    """Images as rows of features, for one policy or P."""

    def forward(self, images: Tensor) -> Tensor:
        """Map images [..., C, H, W] to [..., F]."""
        return images.flatten(-3)


def _side_by_side(images_PBCHW: Tensor) -> Tensor:
    """Return images [B, P * C, H, W]: channels of one policy behind those of the other."""
    return images_PBCHW.transpose(0, 1).flatten(1, 2)


def _apart(images: Tensor, num_policies: int) -> Tensor:
    """Undo `_side_by_side`, without a copy."""
    num_rows, num_channels, *size = images.shape
    return images.reshape(num_rows, num_policies, num_channels // num_policies, *size).transpose(0, 1)


def zero(layer: nn.Module) -> None:
    """Make all parameters zeros."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def mlp(num_in: int, widths: Sequence[int], activation: Activation) -> nn.Sequential:
    """Make hidden layers, each with its nonlinearity; features [B, num_in] to [B, widths[-1]]."""
    layers: list[nn.Module] = []
    for before, after in pairwise((num_in, *widths)):
        layers += [Linear(before, after), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


def nature_cnn(num_channels: int, height: int, width: int) -> nn.Sequential:
    """Make the network of Mnih et al. 2015; images [B, C, H, W] to features [B, 512]."""
    sides = [height, width]
    for kernel, stride in ((8, 4), (4, 2), (3, 1)):
        sides = [(side - kernel) // stride + 1 for side in sides]
    return nn.Sequential(
        Conv2d(num_channels, 32, 8, 4),
        nn.ReLU(),
        Conv2d(32, 64, 4, 2),
        nn.ReLU(),
        Conv2d(64, 64, 3, 1),
        nn.ReLU(),
        Flatten(),
        Linear(64 * sides[0] * sides[1], NATURE_CNN_WIDTH),
        nn.ReLU(),
    )


def impala_resnet(num_channels: int, height: int, width: int) -> nn.Sequential:
    """Make the deep network of Espeholt et al. 2018; images [B, C, H, W] to features [B, 256]."""
    layers: list[nn.Module] = []
    for channels in (16, 32, 32):
        layers += [
            Conv2d(num_channels, channels, 3, padding=1),
            MaxPool2d(3, stride=2, padding=1),
            _Residual(channels),
            _Residual(channels),
        ]
        num_channels, height, width = channels, (height + 1) // 2, (width + 1) // 2
    return nn.Sequential(
        *layers,
        nn.ReLU(),
        Flatten(),
        Linear(num_channels * height * width, IMPALA_RESNET_WIDTH),
        nn.ReLU(),
    )


class _Residual(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv2d(channels, channels, 3, padding=1)
        self.second = Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        residual_BCHW: Tensor = self.second(torch.relu(self.first(torch.relu(x_BCHW))))
        return x_BCHW + residual_BCHW
