"""Adam for many policies at once. Axes: B policies, T of them at a time, D numbers of a tensor of each."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from outrider.learner.stacks.stacked_policies import Block
from outrider.learner.training.gradient_step import FIRST_MOMENT_DECAY, SECOND_MOMENT_DECAY
from outrider.rlmodule import WeightGradient

TILE = 128
"""Policies whose numbers and gradients fit in a cache together."""


class StackedAdam:
    """The policies of a block while they are trained: each has its own step count, rate and clip.

    The formulas are those of `outrider.learner.training.gradient_step.GradientStep`. Its kernel has one
    count and one rate for a call, so it steps where policies agree on them; where not, operations of torch
    do what it does, in three times its time.
    """

    def __init__(
        self,
        block: Block,
        count_B: Tensor,
        *,
        learning_rate_B: Tensor,
        grad_clip_B: Tensor,
        epsilon: float,
    ) -> None:
        """The block is changed in place; counts are float32, and clips may be inf."""
        self._block, self._count_B = block, count_B
        self._learning_rate_B, self._grad_clip_B = learning_rate_B, grad_clip_B
        self._epsilon = epsilon
        self._tiles: dict[int, list[_Tile]] = {}

    def take(
        self,
        gradients: Mapping[str, Tensor | None],
        may_step_B: Tensor,
        products: Mapping[str, WeightGradient] | None = None,
    ) -> Tensor:
        """Take a step with each of the first policies that may, if its gradient is finite.

        `gradients` {name: [B, ...]} are those of the trained tensors, and are used up; None moves nothing.
        `products` are to be computed first, and added to these. Returns their norms [B].
        """
        slopes = _each_apart(gradients)
        norms = []
        for tile in self._tiles_of(len(may_step_B)):
            of_tile = {name: slope_BD[tile.places] for name, slope_BD in slopes.items()}
            for name, product in (products or {}).items():
                slope_TD = _flat(product.of(tile.places))
                of_tile[name] = of_tile[name].add_(slope_TD) if name in of_tile else slope_TD
            norms.append(self._take_tile(tile, of_tile, may_step_B[tile.places]))
        return torch.cat(norms)

    def _take_tile(self, tile: "_Tile", named: Mapping[str, Tensor], may_step_T: Tensor) -> Tensor:
        """Take a step with policies that a cache holds; return the norms of their gradients [T]."""
        moved, slopes = [tile.kept[name] for name in named], list(named.values())
        norms = [torch.linalg.vector_norm(slope_TD, dim=1) for slope_TD in slopes]
        norm_T: Tensor = torch.linalg.vector_norm(torch.stack(norms), dim=0)
        steps_T = may_step_T & norm_T.isfinite()
        if bool((norm_T > tile.grad_clip_T).any()):
            scale_T1 = (tile.grad_clip_T / norm_T).clamp(max=1.0)[:, None]
            for slope_TD in slopes:
                slope_TD.mul_(scale_T1)
        if bool(steps_T.all()):
            tile.count_T.add_(1.0)
            self._step(moved, slopes, tile.count_T, tile.learning_rate_T, tile.only_rate)
        elif bool(steps_T.any()):
            self._step_some(tile, moved, slopes, steps_T.nonzero().squeeze(1))
        return norm_T

    def _step_some(self, tile: "_Tile", moved: list["_Moved"], slopes: list[Tensor], chosen: Tensor) -> None:
        """Move the policies of a tile that are chosen."""
        tile.count_T[chosen] += 1.0
        some = [_Moved(*(kept_TD[chosen] for kept_TD in one)) for one in moved]
        rate_T, slopes = tile.learning_rate_T[chosen], [slope_TD[chosen] for slope_TD in slopes]
        self._step(some, slopes, tile.count_T[chosen], rate_T, tile.only_rate)
        for one, changed in zip(moved, some, strict=True):
            for kept_TD, changed_TD in zip(one, changed, strict=True):
                kept_TD[chosen] = changed_TD

    def _step(
        self,
        moved: list["_Moved"],
        slopes: list[Tensor],
        count_T: Tensor,
        rate_T: Tensor,
        only_rate: float | None,
    ) -> None:
        """Move policies by their clipped gradients."""
        if only_rate is not None and bool((count_T == count_T[0]).all()):
            torch._fused_adam_(
                [one.weight_TD for one in moved],
                slopes,
                [one.first_TD for one in moved],
                [one.second_TD for one in moved],
                [],
                [count_T[0]] * len(slopes),
                lr=only_rate,
                beta1=FIRST_MOMENT_DECAY,
                beta2=SECOND_MOMENT_DECAY,
                weight_decay=0.0,
                eps=self._epsilon,
                amsgrad=False,
                maximize=False,
            )
            return
        root_T1 = (1.0 - SECOND_MOMENT_DECAY ** count_T.double()).sqrt().float()[:, None]
        rate_T1 = (rate_T / (1.0 - FIRST_MOMENT_DECAY ** count_T.double())).float()[:, None] * root_T1
        for (weight_TD, first_TD, second_TD), slope_TD in zip(moved, slopes, strict=True):
            first_TD.lerp_(slope_TD, 1.0 - FIRST_MOMENT_DECAY)
            second_TD.mul_(SECOND_MOMENT_DECAY).addcmul_(slope_TD, slope_TD, value=1.0 - SECOND_MOMENT_DECAY)
            divisor_TD = torch.sqrt(second_TD, out=slope_TD).add_(self._epsilon * root_T1)
            weight_TD.addcmul_(torch.div(first_TD, divisor_TD, out=divisor_TD), rate_T1, value=-1.0)

    def _tiles_of(self, num_policies: int) -> list["_Tile"]:
        """Cut the first policies into tiles, which stay the same from step to step."""
        if num_policies not in self._tiles:
            block, rate_B = self._block, self._learning_rate_B
            kept = {
                name: (_flat(weight), _flat(block.first_moments[name]), _flat(block.second_moments[name]))
                for name, weight in block.weights.items()
            }
            self._tiles[num_policies] = [
                _Tile(
                    places=places,
                    kept={
                        name: _Moved(*(kept_BD[places] for kept_BD in three)) for name, three in kept.items()
                    },
                    count_T=self._count_B[places],
                    learning_rate_T=rate_B[places],
                    grad_clip_T=self._grad_clip_B[places],
                    only_rate=float(rate_B[places.start])
                    if bool((rate_B[places] == rate_B[places.start]).all())
                    else None,
                )
                for places in (
                    slice(start, min(start + TILE, num_policies)) for start in range(0, num_policies, TILE)
                )
            ]
        return self._tiles[num_policies]


class _Moved(NamedTuple):
    """What a step changes of a tensor of each policy."""

    weight_TD: Tensor
    first_TD: Tensor
    second_TD: Tensor


class _Tile(NamedTuple):
    """Neighbours in a block, as views."""

    places: slice
    kept: dict[str, _Moved]
    count_T: Tensor
    learning_rate_T: Tensor
    grad_clip_T: Tensor
    only_rate: float | None
    """None where policies have several."""


def _each_apart(gradients: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Return gradients as [T, D] that can be written to; autograd may give several tensors the same one."""
    addresses: set[int] = set()
    slopes = {}
    for name, gradient in gradients.items():
        if gradient is None:
            continue
        slope_TD = _flat(gradient).contiguous()
        address = slope_TD.data_ptr()
        slopes[name] = slope_TD.clone() if address in addresses else slope_TD
        addresses.add(address)
    return slopes


def _flat(tensor: Tensor) -> Tensor:
    """Give a tensor [T, ...] two axes; a view, if it has no gaps."""
    return tensor.reshape(len(tensor), -1)
