"""A short text that is equal for two policies exactly when the weights of one fit the other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from outrider.wire import BoxSpace, DictSpace, MultiDiscreteSpace, TupleSpace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import nn

    from outrider.wire import ActionHead, Space


def fingerprint(
    module: nn.Module,
    observation_space: Space,
    action_space: Space,
    heads: Iterable[ActionHead],
    critic_space: Space | None = None,
) -> str:
    """Digest spaces, distribution, layers (type and arguments) and tensor shapes, never their values."""
    digest = hashlib.sha256()
    for line in (
        *_space_lines(observation_space),
        *_space_lines(action_space),
        *map(repr, heads),
        *(() if critic_space is None else ("critic", *_space_lines(critic_space))),
        *_layer_lines(module),
        *(f"{name} {tuple(t.shape)} {t.dtype}" for name, t in module.state_dict().items()),
    ):
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()[:32]


def _layer_lines(module: nn.Module) -> Iterator[str]:
    for name, layer in module.named_modules():
        yield f"{name} {type(layer).__qualname__} {layer.extra_repr()}"


def _space_lines(space: Space) -> Iterator[str]:
    match space:
        case DictSpace():
            for name, child in space.spaces.items():
                yield f"entry {name!r}"
                yield from _space_lines(child)
            yield "end"
        case TupleSpace():
            for child in space.spaces:
                yield "item"
                yield from _space_lines(child)
            yield "end"
        case BoxSpace(low=low, high=high):
            yield f"box {low.shape} {low.dtype} {low.tobytes().hex()} {high.tobytes().hex()}"
        case MultiDiscreteSpace(num_values=num_values, start=start):
            yield f"multi_discrete {num_values.tolist()} {start.tolist()}"
        case _:
            yield repr(space)
