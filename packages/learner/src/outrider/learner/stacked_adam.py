"""Adam for many policies at once. Axes: B policies, T of them at a time, D numbers of a tensor of each."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from outrider.learner.gradient_step import FIRST_MOMENT_DECAY, SECOND_MOMENT_DECAY
from outrider.learner.stacked_policies import Block

TILE = 128
"""Policies whose numbers and gradients fit in a cache together."""


class StackedAdam:
    """The policies of a block while they are trained: each has its own step count, rate and clip.

    The formulas are those of `outrider.learner.gradient_step.GradientStep`. Its kernel has one count and one
    rate for a call, so it steps where policies agree on them; where not, operations of torch do what it
    does, in three times its time. A few policies at a time go through all of it while a cache holds them.
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
        self._count_B = count_B
        self._kept = {
            name: [
                _flat(tensors[name]) for tensors in (block.weights, block.first_moments, block.second_moments)
            ]
            for name in block.weights
        }
        self._learning_rate_B, self._grad_clip_B = learning_rate_B, grad_clip_B
        self._epsilon = epsilon
        # Used again by each tile: pages of fresh memory cost as much as what is done with them.
        self._slopes = {
            name: torch.empty_like(_flat(tensor[:TILE])) for name, tensor in block.weights.items()
        }

    def take(self, gradients: Mapping[str, Tensor | None], may_step_B: Tensor) -> Tensor:
        """Take a step with each of the first policies that may, if its gradient is finite.

        `gradients` {name: [B, ...]} are those of the trained tensors; None moves nothing. Returns their
        norms [B].
        """
        known = {name: gradient for name, gradient in gradients.items() if gradient is not None}
        num_policies = len(may_step_B)
        norms = [
            self._take_tile(known, slice(start, min(start + TILE, num_policies)), may_step_B)
            for start in range(0, num_policies, TILE)
        ]
        return torch.cat(norms)

    def _take_tile(self, gradients: Mapping[str, Tensor], tile: slice, may_step_B: Tensor) -> Tensor:
        parts = [_flat(gradient[tile]) for gradient in gradients.values()]
        norms = [torch.linalg.vector_norm(part_TD, dim=1) for part_TD in parts]
        norm_T: Tensor = torch.linalg.vector_norm(torch.stack(norms), dim=0)
        steps_T = may_step_B[tile] & norm_T.isfinite()
        scale_T1 = (self._grad_clip_B[tile] / norm_T).clamp(max=1.0)[:, None]
        slopes = [
            torch.mul(part_TD, scale_T1, out=self._slopes[name][: len(part_TD)])
            for name, part_TD in zip(gradients, parts, strict=True)
        ]
        if bool(steps_T.all()):
            self._step(tile, gradients, slopes)
        elif bool(steps_T.any()):
            chosen = steps_T.nonzero().squeeze(1)
            self._step(tile.start + chosen, gradients, [slope_TD[chosen] for slope_TD in slopes])
        return norm_T

    def _step(self, places: slice | Tensor, names: Iterable[str], slopes: list[Tensor]) -> None:
        """Move the policies at `places` by their clipped gradients, which are used up."""
        self._count_B[places] += 1.0
        count_T, rate_T = self._count_B[places], self._learning_rate_B[places]
        moved = [[tensor_BD[places] for tensor_BD in self._kept[name]] for name in names]
        weights, firsts, seconds = (list(column) for column in zip(*moved, strict=True))
        if bool((count_T == count_T[0]).all()) and bool((rate_T == rate_T[0]).all()):
            torch._fused_adam_(
                weights,
                slopes,
                firsts,
                seconds,
                [],
                [count_T[0]] * len(slopes),
                lr=float(rate_T[0]),
                beta1=FIRST_MOMENT_DECAY,
                beta2=SECOND_MOMENT_DECAY,
                weight_decay=0.0,
                eps=self._epsilon,
                amsgrad=False,
                maximize=False,
            )
        else:
            root_T1 = (1.0 - SECOND_MOMENT_DECAY ** count_T.double()).sqrt().float()[:, None]
            rate_T1 = (rate_T / (1.0 - FIRST_MOMENT_DECAY ** count_T.double())).float()[:, None] * root_T1
            for weight_TD, slope_TD, first_TD, second_TD in zip(
                weights, slopes, firsts, seconds, strict=True
            ):
                first_TD.lerp_(slope_TD, 1.0 - FIRST_MOMENT_DECAY)
                second_TD.mul_(SECOND_MOMENT_DECAY).addcmul_(
                    slope_TD, slope_TD, value=1.0 - SECOND_MOMENT_DECAY
                )
                divisor_TD = torch.sqrt(second_TD, out=slope_TD).add_(self._epsilon * root_T1)
                weight_TD.addcmul_(torch.div(first_TD, divisor_TD, out=divisor_TD), rate_T1, value=-1.0)
        if isinstance(places, Tensor):
            for name, changed in zip(names, moved, strict=True):
                for tensor_BD, changed_TD in zip(self._kept[name], changed, strict=True):
                    tensor_BD[places] = changed_TD


def _flat(tensor: Tensor) -> Tensor:
    """Give a tensor [T, ...] two axes; a view, if it has no gaps."""
    return tensor.reshape(len(tensor), -1)
