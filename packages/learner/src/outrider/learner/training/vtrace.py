"""V-trace over rows as they are, without padding. Axes: N = rows of all streams; ... = any in front.

What follows a row, and where recursions end, is said as in `outrider.learner.training.gae`: `followed_N` is
false where an episode ended and at the end of a stream.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from outrider.learner.training.gae import backward_sums
from outrider.learner.training.vtrace_settings import RatioBounds


class VTrace(NamedTuple):
    """What values should be, and how much better each action did."""

    target_N: Tensor
    advantage_N: Tensor


def vtrace(
    reward_N: Tensor,
    value_N: Tensor,
    next_value_N: Tensor,
    terminated_N: Tensor,
    followed_N: Tensor,
    ratio_N: Tensor,
    *,
    discount: float | Tensor,
    trace_decay: float | Tensor,
    bounds: RatioBounds,
) -> VTrace:
    """Estimate the values and advantages of one policy from rows in which another one acted.

        ratio_t = pi(a_t | s_t) / mu(a_t | s_t)       pi: the policy, mu: the one that acted
        rho_t   = min(bounds.rho, ratio_t)
        c_t     = trace_decay * min(bounds.c, ratio_t)
        delta_t = rho_t * (r_t + discount * (1 - terminated_t) * V(s'_t) - V(s_t))
        x_t     = delta_t + discount * c_t * followed_t * x_t+1
        v_t     = V(s_t) + x_t

        A_t     = min(bounds.pg_rho, ratio_t)
                  * (r_t + discount * (1 - terminated_t) * V(s'_t) - V(s_t)
                     + discount * trace_decay * followed_t * x_t+1)

    With trace_decay = 1 the brackets of A are r_t + discount * v_t+1 - V(s_t), where v_t+1 is V(s'_t) for
    a row that the next row does not follow. `next_value_N` values the observation that really followed,
    also where the episode was truncated or the stream was cut; where it terminated it is not looked at.
    With ratios of 1 the targets are those of GAE, and so are the advantages.

    Espeholt et al. 2018 (arXiv 1802.01561), eq. 1, remark 2 and section 4.2.
    """
    columns = (reward_N, value_N, next_value_N, terminated_N, followed_N, ratio_N)
    if len({column.shape for column in columns}) != 1:
        raise ValueError(
            f"vtrace got columns of shapes {[tuple(column.shape) for column in columns]}; "
            "give six of one shape [..., N]"
        )
    followed_N = followed_N & ~terminated_N
    difference_N = reward_N + discount * torch.where(terminated_N, 0.0, next_value_N) - value_N
    excess_N = backward_sums(
        ratio_N.clamp(max=bounds.rho) * difference_N,
        (discount * trace_decay) * ratio_N.clamp(max=bounds.c) * followed_N,
    )
    excess_of_next_N = torch.zeros_like(excess_N)
    excess_of_next_N[..., :-1] = excess_N[..., 1:]
    # Not a product with followed_N, in which what is not finite would leak over an episode's end.
    excess_of_next_N = torch.where(followed_N, excess_of_next_N, 0.0)
    advantage_N = ratio_N.clamp(max=bounds.pg_rho) * (
        difference_N + (discount * trace_decay) * excess_of_next_N
    )
    return VTrace(target_N=value_N + excess_N, advantage_N=advantage_N)
