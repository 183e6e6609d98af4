"""Advantages with mean 0 and deviation 1 over the rows of all ranks. Axes: N = rows of this rank."""

import torch
from torch import Tensor

from outrider.learner.ranks import Ranks

EPSILON = 1e-8


def standardise(advantage_N: Tensor, ranks: Ranks) -> Tensor:
    """Shift and scale; sums in float64, deviations from the mean, so that no digits cancel."""
    wide_N = advantage_N.double()
    total, count = ranks.sum(torch.stack((wide_N.sum(), wide_N.new_tensor(float(len(wide_N)))))).unbind()
    centred_N = wide_N - total / count
    variance = ranks.sum(centred_N.square().sum()) / count
    return (centred_N / (variance.sqrt() + EPSILON)).to(advantage_N.dtype)


def explained_variance(value_N: Tensor, target_N: Tensor, ranks: Ranks) -> float:
    """Return 1 - Var(target - value) / Var(target) over all ranks."""
    both = torch.stack((target_N, target_N - value_N)).double()
    sums = ranks.sum(torch.cat((both.sum(1), both.new_tensor([float(len(value_N))]))))
    centred = both - (sums[:2] / sums[2])[:, None]
    variance = ranks.sum(centred.square().sum(1))
    return float(1.0 - variance[1] / variance[0]) if variance[0] > 0 else float("nan")
