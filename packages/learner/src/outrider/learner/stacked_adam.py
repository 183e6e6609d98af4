"""Adam for many policies at once. Axes: B policies, T of them at a time, D trained numbers of a policy."""

from collections.abc import Mapping
from itertools import compress

import torch
from torch import Tensor

from outrider.learner.gradient_step import FIRST_MOMENT_DECAY, SECOND_MOMENT_DECAY
from outrider.learner.stacked_policies import Block, Layout

TILE = 64
"""Policies whose numbers and gradients fit in a cache together."""


class StackedAdam:
    """The policies of a block while they are trained: each has its own step count, rate and clip.

    The formulas are those of `outrider.learner.gradient_step.GradientStep`, and so is the kernel. It takes a
    list of tensors with a count each, and here that is a list of policies, of which some may be left out:
    those do not move. The rate is one for all of the list, so steps of rate 1 are collected apart, and added
    times each policy's own. A few policies at a time go through all of it while a cache holds them.
    """

    def __init__(
        self,
        layout: Layout,
        block: Block,
        count_B: Tensor,
        *,
        learning_rate_B: Tensor,
        grad_clip_B: Tensor,
        epsilon: float,
    ) -> None:
        """The block is changed in place; counts are float32, and clips may be inf."""
        self._layout, self._block, self._count_B = layout, block, count_B
        self._learning_rate_B, self._grad_clip_B = learning_rate_B, grad_clip_B
        self._epsilon = epsilon
        self._gradient_TD, self._step_TD = torch.empty(
            2, min(TILE, len(count_B)), layout.width, device=count_B.device
        )

    def take(self, gradients: Mapping[str, Tensor | None], may_step_B: Tensor) -> Tensor:
        """Take a step with each of the first policies that may, if its gradient is finite.

        `gradients` {name: [B, ...]} are those of the trained tensors; returns their norms [B].
        """
        num_policies = len(may_step_B)
        norms = [
            self._take_tile(gradients, slice(start, min(start + TILE, num_policies)), may_step_B)
            for start in range(0, num_policies, TILE)
        ]
        return torch.cat(norms)

    def _take_tile(self, gradients: Mapping[str, Tensor | None], tile: slice, may_step_B: Tensor) -> Tensor:
        size = tile.stop - tile.start
        gradient_TD, step_TD = self._gradient_TD[:size], self._step_TD[:size].zero_()
        self._layout.join(
            {name: None if part is None else part[tile] for name, part in gradients.items()}, gradient_TD
        )
        norm_T: Tensor = torch.linalg.vector_norm(gradient_TD, dim=1)
        steps_T = may_step_B[tile] & norm_T.isfinite()
        gradient_TD.mul_((self._grad_clip_B[tile] / norm_T).clamp(max=1.0)[:, None])
        self._count_B[tile] += steps_T
        chosen = steps_T.tolist()
        if not any(chosen):
            return norm_T
        block = self._block
        columns = (step_TD, gradient_TD, block.first_BD[tile], block.second_BD[tile], self._count_B[tile])
        steps, slopes, firsts, seconds, counts = (
            list(compress(column.unbind(), chosen)) for column in columns
        )
        torch._fused_adam_(
            steps,
            slopes,
            firsts,
            seconds,
            [],
            counts,
            lr=1.0,
            beta1=FIRST_MOMENT_DECAY,
            beta2=SECOND_MOMENT_DECAY,
            weight_decay=0.0,
            eps=self._epsilon,
            amsgrad=False,
            maximize=False,
        )
        block.weight_BD[tile].addcmul_(step_TD, self._learning_rate_B[tile, None])
        return norm_T
