"""How the numbers that a policy puts out parametrise the distribution of its actions.

The runner samples from these parameters in NumPy and the learner differentiates them in torch;
both sides read the layout from here, so that it exists once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from outrider.wire.space import (
    BoxSpace,
    DiscreteSpace,
    LeafSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    leaves,
)

if TYPE_CHECKING:
    from outrider.wire.space import Space

BoxDistribution: TypeAlias = Literal["gaussian", "squashed_gaussian"]
Kind: TypeAlias = Literal["categorical", "bernoulli", "gaussian", "squashed_gaussian"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionHead:
    """The distribution of one leaf of the action space.

    categorical         one logit for each value of each component; actions are indices from 0
    bernoulli           one logit for each component; actions are 0 or 1
    gaussian            means, then log standard deviations; actions are unbounded numbers, of which
                        -1 and 1 stand for the bounds of a bounded component
    squashed_gaussian   the same, and the environment gets tanh of the action; what is recorded is
                        the action before tanh, where its log-probability is well conditioned (the
                        log-probability itself is that of the squashed action)
    """

    path: str
    """Which leaf of the action space, as `leaves` names it."""
    kind: Kind
    sizes: tuple[int, ...]
    """Categorical: number of values of each component. Otherwise: 1 for each component."""
    shape: tuple[int, ...]
    """Shape of one action of this leaf."""
    start: int
    """First column of the policy's output that belongs to this leaf."""
    stop: int
    """One past the last column."""


def action_heads(space: Space, *, box: BoxDistribution = "gaussian") -> tuple[ActionHead, ...]:
    """Lay out the distribution parameters for an action space, leaf after leaf.

    Raises ValueError for a space that has no distribution here.
    """
    heads: list[ActionHead] = []
    start = 0
    for path, leaf in leaves(space).items():
        kind, sizes, shape = _distribution(leaf, path, box)
        width = 2 * len(sizes) if kind in {"gaussian", "squashed_gaussian"} else sum(sizes)
        heads.append(
            ActionHead(path=path, kind=kind, sizes=sizes, shape=shape, start=start, stop=start + width)
        )
        start += width
    if not heads:
        msg = "the action space is empty; it needs at least one Box, Discrete, MultiDiscrete or MultiBinary"
        raise ValueError(msg)
    return tuple(heads)


def _distribution(
    leaf: LeafSpace, path: str, box: BoxDistribution
) -> tuple[Kind, tuple[int, ...], tuple[int, ...]]:
    match leaf:
        case DiscreteSpace():
            return "categorical", (leaf.num_values,), ()
        case MultiDiscreteSpace():
            return "categorical", tuple(leaf.num_values.ravel().tolist()), leaf.num_values.shape
        case MultiBinarySpace():
            return "bernoulli", (1,) * math.prod(leaf.shape), leaf.shape
        case BoxSpace() if leaf.low.dtype.kind == "f":
            return box, (1,) * leaf.low.size, leaf.low.shape
        case _:
            where = f" at {path!r}" if path else ""
            msg = (
                f"action space {leaf!r}{where} has no action distribution; allowed are Discrete, Box of "
                "floats, MultiDiscrete, MultiBinary, and Dict or Tuple of these"
            )
            raise ValueError(msg)
