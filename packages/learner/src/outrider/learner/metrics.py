"""What `update` returns: one float for each name.

policy_loss             clipped surrogate, or IMPALA's policy gradient; negative where the policy expects
                        to improve
value_loss              mean squared error of the values, in (normalised) returns squared
entropy                 of the policy, nats per row
mean_kl                 divergence from the acting policy, PPO's over the last epoch, or from APPO's target
                        network; nats per row
clip_fraction           share of rows whose probability ratio lies outside of the clip, or above IMPALA's
                        vtrace_clip_rho_threshold
grad_norm               global norm of the gradient before clipping
explained_variance      1 - Var(target - value) / Var(target) of the values before the update (PPO), or in
                        its last step; 1 is perfect, 0 no better than a constant, nan where all targets
                        are alike
learning_rate           step size of this update
kl_coeff                coefficient of the divergence from the next update on; 0 without `use_kl_loss`
                        (PPO, APPO)
num_epochs              passes over rows: fewer than set after an early stop (PPO); over those of earlier
                        updates too (APPO)
num_steps               gradient steps, skipped ones included
skipped_steps           of these, how many were skipped because a loss or gradient was not finite
num_env_steps_trained   rows that came in for this update over all ranks, each counted once
gather_s                seconds to check and join the fragments, before the update or beside the last one
estimate_s              seconds to value all rows and compute advantages (PPO)
train_s                 seconds in gradient steps
normalize_s             seconds to update the observation normaliser, and APPO's target network

The first six are means over all rows of all steps but skipped ones, nan where all were skipped. Of several
policies, `diverged_policies` counts those of which more than `max_consecutive_skipped_steps` in a row were
skipped and that are not frozen; it is there where there are any, also where nothing was trained.
"""

import torch
from torch import Tensor

STEP_STATISTICS = (
    "policy_loss",
    "value_loss",
    "entropy",
    "mean_kl",
    "clip_fraction",
    "total_loss",
    "grad_norm",
)
"""What each gradient step measures, in the order in which a step computes it."""


def mean_statistics(statistics: Tensor, num_rows: list[int]) -> dict[str, float]:
    """Average [steps, len(STEP_STATISTICS)] over rows, leaving out steps that were skipped."""
    finite = statistics.isfinite().all(1)
    weight = torch.tensor(num_rows, dtype=torch.float64)[finite]
    mean = (statistics[finite].double() * weight[:, None]).sum(0) / weight.sum()
    return dict(zip(STEP_STATISTICS, mean.tolist(), strict=True))
