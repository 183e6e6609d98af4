"""The losses of PPO. Axes: B = rows of a minibatch.

Losses are sums over rows, to be divided by the number of rows of the minibatch over *all* ranks:
so ragged shards give the gradient of one rank, which means of means would not.
"""

import torch
from torch import Tensor


def surrogate_sum(ratio_B: Tensor, advantage_B: Tensor, clip: float) -> Tensor:
    """Sum the clipped surrogate, which is to be made small.

        L = -sum_t min(ratio_t * A_t, clamp(ratio_t, 1 - clip, 1 + clip) * A_t)

    Schulman et al. 2017 (arXiv 1707.06347), eq. 7.
    """
    clipped_B = ratio_B.clamp(1.0 - clip, 1.0 + clip) * advantage_B
    return -torch.minimum(ratio_B * advantage_B, clipped_B).sum()


def squared_error_sum(value_B: Tensor, target_B: Tensor) -> Tensor:
    """Sum (V_t - target_t)^2."""
    return (value_B - target_B).square().sum()


def clipped_squared_error_sum(value_B: Tensor, old_value_B: Tensor, target_B: Tensor, clip: float) -> Tensor:
    """Sum squared errors whose gradient stops once a value has moved by `clip`.

    L = sum_t max((V_t - target_t)^2, (old_t + clamp(V_t - old_t, -clip, clip) - target_t)^2)
    """
    near_B = old_value_B + (value_B - old_value_B).clamp(-clip, clip)
    return torch.maximum((value_B - target_B).square(), (near_B - target_B).square()).sum()


def divergence_estimate_sum(log_ratio_B: Tensor, ratio_B: Tensor) -> Tensor:
    """Sum KL(old || new), estimated from the actions taken; each term is at least 0.

    ratio_t - 1 - log ratio_t; unbiased, http://joschu.net/blog/kl-approx.html
    """
    return (ratio_B - 1.0 - log_ratio_B).sum()


def clipped_count(ratio_B: Tensor, clip: float) -> Tensor:
    """Count the rows whose ratio lies outside of the clip."""
    return ((ratio_B - 1.0).abs() > clip).sum()
