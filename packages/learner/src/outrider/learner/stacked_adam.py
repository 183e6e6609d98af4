"""Adam for many policies at once. Axes: B = policies of a block, D = trained numbers of a policy."""

from itertools import compress

import torch
from torch import Tensor

from outrider.learner.gradient_step import FIRST_MOMENT_DECAY, SECOND_MOMENT_DECAY

TILE = 64
"""Policies whose numbers fit in a cache together."""


class StackedAdam:
    """The policies of a block while they are trained: each has its own step count, rate and clip.

    The formulas are those of `outrider.learner.gradient_step.GradientStep`, and so is the kernel. It takes a
    list of tensors with a count each, and here that is a list of policies, of which some may be left out:
    those do not move. The rate is one for all of the list, so steps of rate 1 are collected apart, and added
    times each policy's own.
    """

    def __init__(
        self,
        weight_BD: Tensor,
        first_BD: Tensor,
        second_BD: Tensor,
        count_B: Tensor,
        *,
        learning_rate_B: Tensor,
        grad_clip_B: Tensor,
        epsilon: float,
    ) -> None:
        """All are changed in place; `count_B` is float32, `grad_clip_B` may be inf."""
        self._tensors = (weight_BD, first_BD, second_BD)
        self.count_B = count_B
        self._learning_rate_B1, self._grad_clip_B = learning_rate_B[:, None], grad_clip_B
        self._epsilon = epsilon
        self._step_TD = torch.empty_like(weight_BD[:TILE])

    def take(self, gradient_BD: Tensor, norm_B: Tensor, steps_B: Tensor) -> None:
        """Take a step with each policy that `steps_B` names, of the first ones; changes `gradient_BD`.

        `norm_B` are the norms of the gradients.
        """
        share_B = (self._grad_clip_B[: len(norm_B)] / norm_B).clamp(max=1.0)
        for start in range(0, len(norm_B), TILE):
            tile = slice(start, start + TILE)
            steps_T = steps_B[tile]
            gradient_TD = gradient_BD[tile].mul_(share_B[tile, None])
            step_TD = self._step_TD[: len(gradient_TD)].zero_()
            count_T = self.count_B[start : start + len(gradient_TD)]
            count_T += steps_T
            chosen = None if bool(steps_T.all()) else steps_T.tolist()
            weight_BD, first_BD, second_BD = (tensor[tile] for tensor in self._tensors)
            rows = (step_TD, gradient_TD, first_BD[: len(step_TD)], second_BD[: len(step_TD)], count_T)
            parts = [r.unbind() if chosen is None else list(compress(r.unbind(), chosen)) for r in rows]
            if not parts[0]:
                continue
            torch._fused_adam_(
                parts[0],
                parts[1],
                parts[2],
                parts[3],
                [],
                parts[4],
                lr=1.0,
                beta1=FIRST_MOMENT_DECAY,
                beta2=SECOND_MOMENT_DECAY,
                weight_decay=0.0,
                eps=self._epsilon,
                amsgrad=False,
                maximize=False,
            )
            weight_BD[: len(step_TD)].addcmul_(step_TD, self._learning_rate_B1[start : start + len(step_TD)])
