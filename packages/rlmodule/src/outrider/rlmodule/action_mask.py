"""Actions that are not allowed now get probability zero.

An observation space that is a Dict with the entry "action_mask" (MultiBinary, or Box of whole numbers
or floats between 0 and 1) masks the logits of the one categorical head of the action space: n numbers
for Discrete, the values of all components one after the other for MultiDiscrete. 1 allows.
Axes: P policies where they are stacked, B rows, k action parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from outrider.rlmodule.features import MASK_KEY
from outrider.rlmodule.layers import flat
from outrider.wire import BoxSpace, DictSpace, MultiBinarySpace, Space, leaf_shape

if TYPE_CHECKING:
    from torch import Tensor

    from outrider.wire import ActionHead

FORBIDDEN = -1e9
"""Logit of a forbidden action: exp of it is exactly 0 in float32, and no sum of it overflows."""


class ActionMask:
    """Overwrites the logits of forbidden actions."""

    path = f"/{MASK_KEY}"

    def __init__(self, head: ActionHead, num_parameters: int, num_axes: int) -> None:
        """Mask the columns of one categorical head by a leaf with so many axes."""
        self._num_axes = num_axes
        self._start, self._stop = head.start, head.stop
        self._is_whole = head.stop - head.start == num_parameters

    def __call__(self, parameters_Bk: Tensor, mask: Tensor) -> Tensor:
        """Return the parameters with `FORBIDDEN` where the mask [B, ...] is 0."""
        allowed = flat(mask, self._num_axes, self._stop - self._start) > 0
        if self._is_whole:
            return torch.where(allowed, parameters_Bk, FORBIDDEN)
        logits = torch.where(allowed, parameters_Bk[..., self._start : self._stop], FORBIDDEN)
        return torch.cat((parameters_Bk[..., : self._start], logits, parameters_Bk[..., self._stop :]), -1)


def action_mask(space: Space, heads: tuple[ActionHead, ...]) -> ActionMask | None:
    """Find the mask in an observation space, and what it masks; None where there is none."""
    if not isinstance(space, DictSpace) or MASK_KEY not in space.spaces:
        return None
    leaf = space.spaces[MASK_KEY]
    if not isinstance(leaf, MultiBinarySpace | BoxSpace) or not _is_within_0_and_1(leaf):
        raise ValueError(
            f"the observation's {MASK_KEY!r} is a {type(leaf).__name__} with other values than 0 and 1; "
            "make it MultiBinary or a Box within 0..1, or give it another name if it is a feature"
        )
    categorical = [head for head in heads if head.kind == "categorical"]
    if len(categorical) != 1:
        raise ValueError(
            f"the observation has an {MASK_KEY!r}, but the action space has {len(categorical)} Discrete or "
            "MultiDiscrete leaves; a mask needs exactly one"
        )
    head = categorical[0]
    size = torch.Size(leaf_shape(leaf)).numel()
    if size != head.stop - head.start:
        raise ValueError(
            f"the observation's {MASK_KEY!r} has {size} entries, and the action space has "
            f"{head.stop - head.start} values to allow or forbid; make them equal (MultiDiscrete: the values "
            "of all components in a row)"
        )
    return ActionMask(head, heads[-1].stop, len(leaf_shape(leaf)))


def _is_within_0_and_1(leaf: MultiBinarySpace | BoxSpace) -> bool:
    return isinstance(leaf, MultiBinarySpace) or bool((leaf.low >= 0).all() and (leaf.high <= 1).all())
