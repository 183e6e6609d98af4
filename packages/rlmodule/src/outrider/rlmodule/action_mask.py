"""Actions that are not allowed now get probability zero.

An observation space that is a Dict with the entry "action_mask" (MultiBinary, or Box of whole numbers
or floats between 0 and 1) masks the logits of the one categorical head of the action space: n numbers
for Discrete, the values of all components one after the other for MultiDiscrete. 1 allows.
Axes: B rows, k action parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from outrider.wire import BoxSpace, DictSpace, MultiBinarySpace, Space, leaf_shape

from outrider.rlmodule.features import MASK_KEY

if TYPE_CHECKING:
    from outrider.wire import ActionHead
    from torch import Tensor

FORBIDDEN = -1e9
"""Logit of a forbidden action: exp of it is exactly 0 in float32, and no sum of it overflows."""


class ActionMask:
    """Overwrites the logits of forbidden actions."""

    path = f"/{MASK_KEY}"

    def __init__(self, head: ActionHead, num_parameters: int) -> None:
        """Mask the columns of one categorical head."""
        self._start, self._stop = head.start, head.stop
        self._is_whole = head.stop - head.start == num_parameters

    def __call__(self, parameters_Bk: Tensor, mask: Tensor) -> Tensor:
        """Return the parameters with `FORBIDDEN` where the mask [B, ...] is 0."""
        allowed = mask.reshape(mask.shape[0], -1) > 0
        if self._is_whole:
            return parameters_Bk.masked_fill(~allowed, FORBIDDEN)
        logits = parameters_Bk[:, self._start : self._stop].masked_fill(~allowed, FORBIDDEN)
        return torch.cat((parameters_Bk[:, : self._start], logits, parameters_Bk[:, self._stop :]), 1)


def action_mask(space: Space, heads: tuple[ActionHead, ...]) -> ActionMask | None:
    """Find the mask in an observation space, and what it masks; None where there is none."""
    if not isinstance(space, DictSpace) or MASK_KEY not in space.spaces:
        return None
    leaf = space.spaces[MASK_KEY]
    is_mask = isinstance(leaf, MultiBinarySpace) or (
        isinstance(leaf, BoxSpace) and bool((leaf.low >= 0).all()) and bool((leaf.high <= 1).all())
    )
    if not is_mask:
        msg = (
            f"the observation's {MASK_KEY!r} is {leaf!r}; it must be MultiBinary or a Box within 0..1, or "
            "have another name if it is a feature"
        )
        raise ValueError(msg)
    assert isinstance(leaf, MultiBinarySpace | BoxSpace)
    categorical = [head for head in heads if head.kind == "categorical"]
    if len(categorical) != 1:
        msg = (
            f"the observation has an {MASK_KEY!r}, but the action space has {len(categorical)} Discrete or "
            "MultiDiscrete leaves; a mask needs exactly one"
        )
        raise ValueError(msg)
    head = categorical[0]
    size = torch.Size(leaf_shape(leaf)).numel()
    if size != head.stop - head.start:
        msg = (
            f"the observation's {MASK_KEY!r} has {size} entries, and the action space {head.stop - head.start} "
            "values to allow or forbid; make them equal (MultiDiscrete: the values of all components in a row)"
        )
        raise ValueError(msg)
    return ActionMask(head, heads[-1].stop)
