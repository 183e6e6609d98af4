"""The losses of PPO, a number for each row. Axes: B = rows of a minibatch; ... = any before, as P policies.

What adds rows up is handed in. A learner of one policy takes sums, to be divided by the number of rows of
the minibatch over *all* ranks: so ragged shards give the gradient of one rank, which means of means would
not. Where policies are stacked it is the mean over each policy's rows.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from outrider.rlmodule import Distribution

Number: TypeAlias = float | Tensor


class Compared(Protocol):
    """What a minibatch says of its rows, each [..., B]."""

    @property
    def actions(self) -> dict[str, Tensor]: ...
    @property
    def log_prob_B(self) -> Tensor: ...  # noqa: N802 - B names the axis
    @property
    def advantage_B(self) -> Tensor: ...  # noqa: N802 - B names the axis
    @property
    def value_B(self) -> Tensor: ...  # noqa: N802 - B names the axis
    @property
    def value_target_B(self) -> Tensor: ...  # noqa: N802 - B names the axis
    @property
    def parameters(self) -> Tensor | None:
        """[..., B, k] of the acting policy; None where the divergence from it is only estimated."""


class Coefficients(NamedTuple):
    """How the parts of the loss are weighed; a tensor [...] has a number for each policy."""

    clip: Number
    """As a tensor it has a last axis of 1: [..., 1]."""
    vf_clip_param: float | None
    vf_loss_coeff: Number
    entropy_coeff: Number
    kl_coeff: Number
    """Of no effect where `Compared.parameters` is None."""


def ppo_loss(
    distribution: Distribution,
    parameters: Tensor,
    value_B: Tensor,
    rows: Compared,
    coefficients: Coefficients,
    total: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Return the loss [...] and, without gradient, the first six STEP_STATISTICS [6, ...].

    `parameters` [..., B, k] and `value_B` are the policy's; `total` adds up numbers [..., B].
    """
    clip, vf_clip_param, vf_loss_coeff, entropy_coeff, kl_coeff = coefficients
    log_prob_B, entropy_B = distribution.log_prob_and_entropy(parameters, rows.actions)
    log_ratio_B = log_prob_B - rows.log_prob_B
    ratio_B = log_ratio_B.exp()
    policy_loss = total(surrogate(ratio_B, rows.advantage_B, clip))
    if vf_clip_param is None:
        value_loss = total(squared_error(value_B, rows.value_target_B))
    else:
        value_loss = total(clipped_squared_error(value_B, rows.value_B, rows.value_target_B, vf_clip_param))
    loss = policy_loss + vf_loss_coeff * value_loss
    entropy = total(entropy_B)
    if isinstance(entropy_coeff, Tensor) or entropy_coeff:
        loss = loss - entropy_coeff * entropy
    if rows.parameters is None:
        divergence = total(divergence_estimate(log_ratio_B.detach(), ratio_B.detach()))
    else:
        divergence = total(distribution.kl(rows.parameters, parameters))
        loss = loss + kl_coeff * divergence
    with torch.no_grad():
        clipped = total(is_clipped(ratio_B, clip).to(value_B.dtype))
        return loss, torch.stack((policy_loss, value_loss, entropy, divergence, clipped, loss))


def surrogate(ratio_B: Tensor, advantage_B: Tensor, clip: Number) -> Tensor:
    """Return the clipped surrogate, which is to be made small.

        L_t = -min(ratio_t * A_t, clamp(ratio_t, 1 - clip, 1 + clip) * A_t)

    Schulman et al. 2017 (arXiv 1707.06347), eq. 7.
    """
    low, high = 1.0 - clip, 1.0 + clip
    clipped_B = torch.clamp(ratio_B, low, high) * advantage_B  # type: ignore[arg-type]
    return -torch.minimum(ratio_B * advantage_B, clipped_B)


def squared_error(value_B: Tensor, target_B: Tensor) -> Tensor:
    """Return (V_t - target_t)^2."""
    return (value_B - target_B).square()


def clipped_squared_error(value_B: Tensor, old_value_B: Tensor, target_B: Tensor, clip: float) -> Tensor:
    """Return squared errors whose gradient stops once a value has moved by `clip`.

    L_t = max((V_t - target_t)^2, (old_t + clamp(V_t - old_t, -clip, clip) - target_t)^2)
    """
    near_B = old_value_B + (value_B - old_value_B).clamp(-clip, clip)
    return torch.maximum((value_B - target_B).square(), (near_B - target_B).square())


def divergence_estimate(log_ratio_B: Tensor, ratio_B: Tensor) -> Tensor:
    """Estimate KL(old || new) from the actions taken; each term is at least 0.

    ratio_t - 1 - log ratio_t; unbiased, http://joschu.net/blog/kl-approx.html
    """
    return ratio_B - 1.0 - log_ratio_B


def is_clipped(ratio_B: Tensor, clip: Number) -> Tensor:
    """Say which rows' ratio lies outside of the clip."""
    return (ratio_B - 1.0).abs() > clip
