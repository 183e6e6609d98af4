"""How leaves of an observation become rows of numbers for a network.

Discrete, MultiDiscrete   one-hot, component after component
MultiBinary, Box          the numbers as they are, flat; uint8 is divided by its upper bound
image                     a Box of uint8 with three axes: through a convolutional encoder. Its channels
                          are the shorter of the first and the last axis, the last if equally long
"action_mask"             of a Dict at the top: no feature, it masks (see `action_mask`)

Axes: B rows, after an axis of P policies where they are stacked; F features, C channels, H height, W width.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from outrider.rlmodule import layers
from outrider.rlmodule.settings import ModuleSettings
from outrider.wire import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    LeafSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    Space,
    TupleSpace,
)

if TYPE_CHECKING:
    from outrider.rlmodule.protocols import Observation
    from outrider.rlmodule.settings import EncoderName

MASK_KEY = "action_mask"
MANY_WEIGHTS = 20_000_000
"""In the first dense layer behind an observation. The Nature CNN's has 1.6 million behind 84 x 84 pixels."""
Keys: TypeAlias = tuple[str | int, ...]
"""How to find a leaf in a nested observation: observation[keys[0]][keys[1]]..."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoder:
    """A network from an observation to its last hidden layer."""

    layers: nn.Sequential
    width: int
    """Of the last hidden layer."""


def encoder(space: Space, settings: ModuleSettings, *, critic_space: Space | None = None) -> Encoder:
    """Make the features of each leaf, side by side, and the hidden layers on top.

    With a `critic_space` it reads (observation, what a central critic sees besides).
    """
    leaves = dict(_leaves(space))
    if critic_space is not None:
        leaves = {(0, *keys): leaf for keys, leaf in leaves.items()}
        leaves |= dict(_leaves(critic_space, (1,)))
    if not leaves:
        raise ValueError(
            "the observation space has no leaf to learn from; it needs a Box, Discrete, MultiDiscrete or "
            "MultiBinary"
        )
    images = [leaf for leaf in leaves.values() if _is_image(leaf)]
    if settings.encoder not in {"auto", "mlp"} and not images:
        raise ValueError(
            f"encoder={settings.encoder!r} needs an image, which is a Box of uint8 with three axes, and this "
            "observation space has none; use 'auto' or 'mlp'"
        )
    parts = [_leaf_features(leaf, settings.encoder, keys) for keys, leaf in leaves.items()]
    first = parts[0].layers if () in leaves else [_Concatenated(list(leaves), [p.layers for p in parts])]
    num_features = sum(part.width for part in parts)
    hidden = settings.fcnet_hiddens
    if images and len(leaves) == 1 and settings.encoder != "mlp":
        if hidden != ModuleSettings().fcnet_hiddens:
            warnings.warn(
                f"fcnet_hiddens={hidden} is ignored: the observation is one image, and the image encoder "
                "ends in a dense layer of its own",
                stacklevel=2,
            )
        hidden = ()
    if hidden:
        _warn_of_size(f"it has {num_features:,} features", num_features * hidden[0])
    trunk = layers.mlp(num_features, hidden, settings.fcnet_activation)
    return Encoder(layers=nn.Sequential(*first, *trunk), width=hidden[-1] if hidden else num_features)


def _leaves(space: Space, keys: Keys = ()) -> Iterator[tuple[Keys, LeafSpace]]:
    match space:
        case DictSpace():
            for name, child in space.spaces.items():
                if keys or name != MASK_KEY:
                    yield from _leaves(child, (*keys, name))
        case TupleSpace():
            for index, child in enumerate(space.spaces):
                yield from _leaves(child, (*keys, index))
        case _:
            yield keys, space


def _leaf_features(leaf: LeafSpace, name: EncoderName, keys: Keys) -> Encoder:
    match leaf:
        case DiscreteSpace():
            sizes, starts = [leaf.num_values], [leaf.start]
            return Encoder(layers=nn.Sequential(_OneHot(sizes, starts, 0)), width=leaf.num_values)
        case MultiDiscreteSpace():
            sizes, starts = leaf.num_values.ravel().tolist(), leaf.start.ravel().tolist()
            one_hot = _OneHot(sizes, starts, leaf.num_values.ndim)
            return Encoder(layers=nn.Sequential(one_hot), width=sum(sizes))
        case MultiBinarySpace():
            width = math.prod(leaf.shape)
            return Encoder(layers=nn.Sequential(_Flat(width, 1.0, len(leaf.shape))), width=width)
        case BoxSpace() if _is_image(leaf) and name != "mlp":
            return _image_features(leaf, name, keys)
        case BoxSpace() if leaf.low.dtype == np.float32 and leaf.low.ndim == 1:
            return Encoder(layers=nn.Sequential(), width=leaf.low.size)
        case BoxSpace():
            numbers = _Flat(leaf.low.size, _scale(leaf), leaf.low.ndim)
            return Encoder(layers=nn.Sequential(numbers), width=leaf.low.size)
        case _:
            raise ValueError(
                f"the observation space{_where(keys)} is {leaf!r}, which no network of the catalogue reads; "
                "allowed are Box, Discrete, MultiDiscrete, MultiBinary, and Dict or Tuple of these: convert "
                "it with a wrapper, or bring a network of your own"
            )


def _image_features(leaf: BoxSpace, name: EncoderName, keys: Keys) -> Encoder:
    first, middle, last = leaf.low.shape
    channels_first = first < last
    channels, height, width = (first, middle, last) if channels_first else (last, first, middle)
    smallest = layers.SMALLEST_NATURE_CNN_SIDE
    fits = min(height, width) >= smallest
    if name == "nature_cnn" and not fits:
        raise ValueError(
            f"encoder='nature_cnn' needs images of at least {smallest} x {smallest} pixels, and the "
            f"observation space{_where(keys)} has {height} x {width}; use 'impala_resnet' or 'mlp'"
        )
    pixels = _Pixels(_scale(leaf), channels_first=channels_first)
    if name == "impala_resnet" or not fits:
        network, num_features = layers.impala_resnet(channels, height, width), layers.IMPALA_RESNET_WIDTH
    else:
        network, num_features = layers.nature_cnn(channels, height, width), layers.NATURE_CNN_WIDTH
    dense = max(weight.numel() for weight in network.parameters())
    _warn_of_size(f"it{_where(keys)} is an image of {height} x {width} pixels", dense)
    return Encoder(layers=nn.Sequential(pixels, *network), width=num_features)


def _warn_of_size(what: str, num_weights: int) -> None:
    """Warn of a network that would learn slowly and fill the memory, before its weights are drawn."""
    if num_weights >= MANY_WEIGHTS:
        warnings.warn(
            f"the observation is large: {what}, and the first dense layer behind that has {num_weights:,} "
            "weights; make it smaller with a wrapper: images by gymnasium.wrappers.ResizeObservation, to "
            "about 84 x 84 pixels, and as uint8, which convolutions read",
            stacklevel=2,
        )


def _is_image(leaf: LeafSpace) -> bool:
    return isinstance(leaf, BoxSpace) and leaf.low.dtype == np.uint8 and leaf.low.ndim == 3


def _scale(leaf: BoxSpace) -> float:
    return 1.0 / max(int(leaf.high.max()), 1) if leaf.low.dtype == np.uint8 else 1.0


def _where(keys: Keys) -> str:
    return f" at {'/' + '/'.join(map(str, keys))!r}" if keys else ""


class _Flat(nn.Module):
    """Numbers [B, ...] as float32 [B, F]."""

    def __init__(self, width: int, scale: float, num_axes: int) -> None:
        super().__init__()
        self.width, self.scale, self._num_axes = width, scale, num_axes

    def forward(self, x: Tensor) -> Tensor:
        x = layers.flat(x, self._num_axes, self.width).to(torch.float32)
        return x if self.scale == 1.0 else x * self.scale

    def extra_repr(self) -> str:
        return f"width={self.width}, scale={self.scale}"


class _OneHot(nn.Module):
    """Whole numbers [B, ...] as float32 [B, F]; a number out of range becomes all zeros."""

    component: Tensor
    """[F] which component a feature looks at."""
    value: Tensor
    """[F] for which value it is 1."""

    def __init__(self, sizes: list[int], starts: list[int], num_axes: int) -> None:
        super().__init__()
        self.sizes, self.starts, self._num_axes = sizes, starts, num_axes
        component = [index for index, size in enumerate(sizes) for _ in range(size)]
        value = [start + k for size, start in zip(sizes, starts, strict=True) for k in range(size)]
        self.register_buffer("component", torch.tensor(component), persistent=False)
        self.register_buffer("value", torch.tensor(value), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x_BF = layers.flat(x, self._num_axes, len(self.sizes))
        if len(self.sizes) > 1:
            x_BF = x_BF.index_select(-1, self.component)
        return (x_BF == self.value).to(torch.float32)

    def extra_repr(self) -> str:
        return f"sizes={self.sizes}, starts={self.starts}"


class _Pixels(nn.Module):
    """Bytes [B, C, H, W] or [B, H, W, C] as float32 [B, C, H, W] between 0 and 1."""

    def __init__(self, scale: float, *, channels_first: bool) -> None:
        super().__init__()
        self.scale, self.channels_first = scale, channels_first

    def forward(self, x: Tensor) -> Tensor:
        if not self.channels_first:
            *rows, height, width, channels = range(x.dim())
            x = x.permute(*rows, channels, height, width)
        return x.to(torch.float32) * self.scale

    def extra_repr(self) -> str:
        return f"scale={self.scale}, channels_first={self.channels_first}"


class _Concatenated(nn.Module):
    """Features of the leaves of a nested observation, side by side."""

    def __init__(self, keys: list[Keys], parts: list[nn.Sequential]) -> None:
        super().__init__()
        self.keys = keys
        self.parts = nn.ModuleList(parts)

    def forward(self, observation: Observation) -> Tensor:
        return torch.cat(
            [part(_pick(observation, keys)) for keys, part in zip(self.keys, self.parts, strict=True)], -1
        )

    def extra_repr(self) -> str:
        return f"keys={self.keys}"


def _pick(observation: Any, keys: Keys) -> Tensor:  # noqa: ANN401 - dicts and tuples in any nesting
    for key in keys:
        observation = observation[key]
    assert isinstance(observation, Tensor)
    return observation
