"""Advantages with mean 0 and deviation 1 over the rows of all ranks, or of each policy.

Axes: ... = any leading ones, such as P policies; N = rows of this rank.
"""

import torch
from torch import Tensor

from outrider.learner.ranks import Ranks

EPSILON = 1e-8


def standardise(advantage_N: Tensor, ranks: Ranks, is_row_N: Tensor | None = None) -> Tensor:
    """Shift and scale; sums in float64, deviations from the mean, so that no digits cancel.

    Where there is `is_row_N` [..., N], the others are padding.
    """
    centred_N, variance = _centred(advantage_N, ranks, is_row_N)
    return (centred_N / (variance.sqrt() + EPSILON)[..., None]).to(advantage_N.dtype)


def explained_variance(
    value_N: Tensor, target_N: Tensor, ranks: Ranks, is_row_N: Tensor | None = None
) -> Tensor:
    """Return 1 - Var(target - value) / Var(target) [...] over all ranks; nan where all targets are alike."""
    _, variance = _centred(torch.stack((target_N, target_N - value_N)), ranks, is_row_N)
    return torch.where(variance[0] > 0, 1.0 - variance[1] / variance[0], torch.nan)


def _centred(number_N: Tensor, ranks: Ranks, is_row_N: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return deviations from the mean [..., N], and the variance [...], in float64."""
    wide_N = number_N.double()
    one_N = torch.ones_like(wide_N) if is_row_N is None else is_row_N.double().expand_as(wide_N)
    total, count = ranks.sum(torch.stack(((wide_N * one_N).sum(-1), one_N.sum(-1)))).unbind()
    centred_N = wide_N - (total / count)[..., None]
    return centred_N, ranks.sum((centred_N.square() * one_N).sum(-1)) / count
