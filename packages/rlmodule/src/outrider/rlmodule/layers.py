"""Building blocks with orthogonal initialisation. Axes: B rows, C channels, H height, W width."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from outrider.rlmodule.settings import Activation

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

HIDDEN_GAIN = math.sqrt(2.0)
POLICY_HEAD_GAIN = 0.01
VALUE_HEAD_GAIN = 1.0
NATURE_CNN_WIDTH = 512
IMPALA_RESNET_WIDTH = 256
SMALLEST_NATURE_CNN_SIDE = 36

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
}


def linear(num_in: int, num_out: int, *, gain: float = HIDDEN_GAIN) -> nn.Linear:
    """Make a linear layer with an orthogonal matrix and no bias to begin with."""
    return _orthogonal(nn.Linear(num_in, num_out), gain)


def mlp(num_in: int, widths: Sequence[int], activation: Activation) -> nn.Sequential:
    """Make hidden layers, each with its nonlinearity; features [B, num_in] to [B, widths[-1]]."""
    layers: list[nn.Module] = []
    for before, after in pairwise((num_in, *widths)):
        layers += [linear(before, after), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)


def nature_cnn(num_channels: int, height: int, width: int) -> nn.Sequential:
    """Make the network of Mnih et al. 2015; images [B, C, H, W] to features [B, 512]."""
    sides = [height, width]
    for kernel, stride in ((8, 4), (4, 2), (3, 1)):
        sides = [(side - kernel) // stride + 1 for side in sides]
    return nn.Sequential(
        _orthogonal(nn.Conv2d(num_channels, 32, 8, 4), HIDDEN_GAIN),
        nn.ReLU(),
        _orthogonal(nn.Conv2d(32, 64, 4, 2), HIDDEN_GAIN),
        nn.ReLU(),
        _orthogonal(nn.Conv2d(64, 64, 3, 1), HIDDEN_GAIN),
        nn.ReLU(),
        nn.Flatten(),
        linear(64 * sides[0] * sides[1], NATURE_CNN_WIDTH),
        nn.ReLU(),
    )


def impala_resnet(num_channels: int, height: int, width: int) -> nn.Sequential:
    """Make the deep network of Espeholt et al. 2018; images [B, C, H, W] to features [B, 256]."""
    layers: list[nn.Module] = []
    for channels in (16, 32, 32):
        layers += [
            _orthogonal(nn.Conv2d(num_channels, channels, 3, padding=1), HIDDEN_GAIN),
            nn.MaxPool2d(3, stride=2, padding=1),
            _Residual(channels),
            _Residual(channels),
        ]
        num_channels, height, width = channels, (height + 1) // 2, (width + 1) // 2
    return nn.Sequential(
        *layers,
        nn.ReLU(),
        nn.Flatten(),
        linear(num_channels * height * width, IMPALA_RESNET_WIDTH),
        nn.ReLU(),
    )


class _Residual(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _orthogonal(nn.Conv2d(channels, channels, 3, padding=1), HIDDEN_GAIN)
        self.second = _orthogonal(nn.Conv2d(channels, channels, 3, padding=1), HIDDEN_GAIN)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        residual_BCHW: Tensor = self.second(torch.relu(self.first(torch.relu(x_BCHW))))
        return x_BCHW + residual_BCHW


def _orthogonal(layer: Layer, gain: float) -> Layer:
    nn.init.orthogonal_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
