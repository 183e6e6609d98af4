"""How leaves of an observation become rows of numbers for a network.

Discrete, MultiDiscrete   one-hot, component after component
MultiBinary, Box          the numbers as they are, flat; uint8 is divided by its upper bound
image                     a Box of uint8 with three axes: through a convolutional encoder. Its channels
                          are the shorter of the first and the last axis, the last if equally long
"action_mask"             of a Dict at the top: no feature, it masks (see `action_mask`)

Axes: B rows, F features, C channels, H height, W width.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
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
from torch import Tensor, nn

from outrider.rlmodule import layers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outrider.rlmodule.protocols import Observation
    from outrider.rlmodule.settings import EncoderName, ModuleSettings

MASK_KEY = "action_mask"
IMAGE_AXES = 3


def encoder(space: Space, settings: ModuleSettings) -> tuple[nn.Sequential, int]:
    """Make the network from an observation to the last hidden layer; also return that layer's width."""
    leaves = list(_leaves(space))
    if not leaves:
        msg = "the observation space has no leaf to learn from; it needs a Box, Discrete, MultiDiscrete or MultiBinary"
        raise ValueError(msg)
    images = [is_image(leaf) for _, leaf in leaves]
    if settings.encoder not in {"auto", "mlp"} and not any(images):
        msg = (
            f"encoder={settings.encoder!r} needs an image, a Box of uint8 with three axes, and this "
            "observation space has none; use 'auto' or 'mlp'"
        )
        raise ValueError(msg)
    parts: list[nn.Module] = []
    num_features = 0
    for keys, leaf in leaves:
        part, width = _leaf_features(leaf, settings.encoder, keys)
        parts.append(part)
        num_features += width
    single = len(leaves) == 1 and leaves[0][0] == ()
    first: nn.Module = parts[0] if single else _Concatenated([keys for keys, _ in leaves], parts)
    hidden = settings.fcnet_hiddens
    if all(images) and len(images) == 1 and settings.encoder != "mlp":
        hidden = ()
    trunk = layers.mlp(num_features, hidden, settings.fcnet_activation)
    if isinstance(first, nn.Identity):
        return trunk, hidden[-1] if hidden else num_features
    return nn.Sequential(first, *trunk), hidden[-1] if hidden else num_features


def is_image(leaf: LeafSpace) -> bool:
    """Whether a leaf goes through a convolutional encoder."""
    return isinstance(leaf, BoxSpace) and leaf.low.dtype == np.uint8 and leaf.low.ndim == IMAGE_AXES


def _leaves(space: Space, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], LeafSpace]]:
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


def _leaf_features(leaf: LeafSpace, name: EncoderName, keys: tuple[str | int, ...]) -> tuple[nn.Module, int]:
    match leaf:
        case DiscreteSpace():
            return _OneHot([leaf.num_values], [leaf.start]), leaf.num_values
        case MultiDiscreteSpace():
            sizes = leaf.num_values.ravel().tolist()
            return _OneHot(sizes, leaf.start.ravel().tolist()), sum(sizes)
        case MultiBinarySpace():
            return _Flat(1.0), math.prod(leaf.shape)
        case BoxSpace() if is_image(leaf) and name != "mlp":
            return _image_features(leaf, name, keys)
        case BoxSpace():
            if leaf.low.dtype == np.float32 and leaf.low.ndim == 1:
                return nn.Identity(), leaf.low.size
            return _Flat(_byte_scale(leaf)), leaf.low.size
        case _:
            where = "".join(f"[{key!r}]" for key in keys)
            msg = (
                f"observation space{where} is a {type(leaf).__name__}, which the catalogue cannot read; allowed "
                "are Box, Discrete, MultiDiscrete, MultiBinary, and Dict or Tuple of these: convert it with a "
                "wrapper"
            )
            raise ValueError(msg)


def _image_features(leaf: BoxSpace, name: EncoderName, keys: tuple[str | int, ...]) -> tuple[nn.Module, int]:
    first, middle, last = leaf.low.shape
    channels_first = first < last
    sides = (first, middle, last) if channels_first else (last, first, middle)
    fits = min(sides[1:]) >= layers.SMALLEST_NATURE_CNN_IMAGE
    if name == "nature_cnn" and not fits:
        where = "".join(f"[{key!r}]" for key in keys)
        msg = (
            f"encoder='nature_cnn' needs images of at least {layers.SMALLEST_NATURE_CNN_IMAGE} x "
            f"{layers.SMALLEST_NATURE_CNN_IMAGE} pixels, and observation{where} has {sides[1]} x {sides[2]}; "
            "use 'impala_resnet' or 'mlp'"
        )
        raise ValueError(msg)
    use_nature = name == "nature_cnn" or (name == "auto" and fits)
    network = layers.nature_cnn(*sides) if use_nature else layers.impala_resnet(*sides)
    width = layers.NATURE_CNN_WIDTH if use_nature else layers.IMPALA_RESNET_WIDTH
    return nn.Sequential(_Pixels(_byte_scale(leaf), channels_first=channels_first), network), width


def _byte_scale(leaf: BoxSpace) -> float:
    return 1.0 / max(int(leaf.high.max()), 1) if leaf.low.dtype == np.uint8 else 1.0


class _Flat(nn.Module):
    """Numbers [B, ...] as float32 [B, F]."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(torch.float32).reshape(x.shape[0], -1)
        return x if self.scale == 1.0 else x * self.scale

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class _OneHot(nn.Module):
    """Whole numbers [B, ...] as float32 [B, F]; a number out of range becomes all zeros."""

    component_F: Tensor
    value_F: Tensor

    def __init__(self, sizes: list[int], starts: list[int]) -> None:
        super().__init__()
        self.sizes, self.starts = sizes, starts
        component = [index for index, size in enumerate(sizes) for _ in range(size)]
        value = [start + k for size, start in zip(sizes, starts, strict=True) for k in range(size)]
        self.register_buffer("component_F", torch.tensor(component), persistent=False)
        self.register_buffer("value_F", torch.tensor(value), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if len(self.sizes) == 1:
            return (x.reshape(-1, 1) == self.value_F).to(torch.float32)
        components_BF = x.reshape(x.shape[0], -1).index_select(1, self.component_F)
        return (components_BF == self.value_F).to(torch.float32)

    def extra_repr(self) -> str:
        return f"sizes={self.sizes}, starts={self.starts}"


class _Pixels(nn.Module):
    """Bytes [B, C, H, W] or [B, H, W, C] as float32 [B, C, H, W] between 0 and 1."""

    def __init__(self, scale: float, *, channels_first: bool) -> None:
        super().__init__()
        self.scale, self.channels_first = scale, channels_first

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(torch.float32) * self.scale
        return x if self.channels_first else x.permute(0, 3, 1, 2)

    def extra_repr(self) -> str:
        return f"scale={self.scale}, channels_first={self.channels_first}"


class _Concatenated(nn.Module):
    """Features of the leaves of a nested observation, side by side."""

    def __init__(self, keys: list[tuple[str | int, ...]], parts: list[nn.Module]) -> None:
        super().__init__()
        self.keys = keys
        self.parts = nn.ModuleList(parts)

    def forward(self, observation: Observation) -> Tensor:
        features = [
            part(_pick(observation, keys)) for keys, part in zip(self.keys, self.parts, strict=True)
        ]
        return features[0] if len(features) == 1 else torch.cat(features, 1)

    def extra_repr(self) -> str:
        return f"keys={self.keys}"


def _pick(observation: Any, keys: tuple[str | int, ...]) -> Tensor:  # noqa: ANN401 - any nesting
    for key in keys:
        observation = observation[key]
    assert isinstance(observation, Tensor)
    return observation
