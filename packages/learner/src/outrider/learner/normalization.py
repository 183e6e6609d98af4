"""Feeds the module's running normalisers with the rows of all ranks. Axes: N rows, S streams, C chains."""

import numpy as np
import torch
from torch import Tensor

from outrider.learner.gae import backward_sums
from outrider.learner.learner import StateTree
from outrider.learner.ranks import Ranks
from outrider.learner.rows import Rows
from outrider.rlmodule import Moments, Policy, moments


def observe(policy: Policy, rows: Rows, ranks: Ranks) -> None:
    """Merge the observations of an update into the policy's normaliser, if it has one.

    To be called after training on them, so that acting and training see the same statistics. What is
    not finite on any rank is merged on none: it would stay for ever.
    """
    normalizer = policy.observation_normalizer
    if normalizer is None:
        return
    measured = normalizer.measure(rows.observations)
    common = {path: over_ranks(part, ranks) for path, part in measured.items()}
    normalizer.merge({path: part for path, part in common.items() if bool(part.m2.isfinite().all())})


def over_ranks(part: Moments, ranks: Ranks) -> Moments:
    """Combine the moments of all ranks' rows: deviations from the common mean are summed."""
    count, total = _summed(ranks, part.count, part.count * part.mean)
    mean = total / count.clamp(min=1.0)
    (m2,) = _summed(ranks, part.m2 + part.count * (part.mean - mean).square())
    return Moments(count=count, mean=mean, m2=m2)


def _summed(ranks: Ranks, *tensors: Tensor) -> list[Tensor]:
    total = ranks.sum(torch.cat([tensor.flatten() for tensor in tensors]))
    parts = torch.split(total, [tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


class RewardScale:
    """Divides rewards by the running deviation of discounted returns; remembers unfinished ones.

        R_t = r_t + discount * R_t-1,  and R starts at 0 with each episode

    What an episode has gathered when a fragment ends is kept by environment and agent slot. Rewards
    are counted before they are scaled, so that the first update has a scale too; what is not finite
    counts as 0.
    """

    def __init__(self, discount: float) -> None:
        self._discount = discount
        self._gathered: dict[tuple[int, int], float] = {}

    def scale(self, policy: Policy, rows: Rows, ranks: Ranks) -> Tensor:
        """Return the rewards [N] to learn from; those of `rows` where the policy does not normalise."""
        normalizer = policy.reward_normalizer
        if normalizer is None:
            return rows.reward_N
        normalizer.merge(over_ranks(moments(self.returns(rows).to(rows.reward_N.device)), ranks))
        return normalizer.scale_only(rows.reward_N)

    def returns(self, rows: Rows) -> Tensor:
        """Return R [N] in float64, of the rows in any order."""
        # Streams of one agent are put behind each other, in the order of their fragments.
        order_S = sorted(range(len(rows.length_S)), key=rows.stream_key_S.__getitem__)
        length_S = rows.length_S[order_S]
        first_S = (np.cumsum(rows.length_S) - rows.length_S)[order_S]
        row_N = np.repeat(first_S - (np.cumsum(length_S) - length_S), length_S) + np.arange(len(rows))
        reward_N = rows.reward_N.double().cpu()[row_N].nan_to_num(0.0, 0.0, 0.0)
        goes_on_N = ~(rows.terminated_N | rows.truncated_N).cpu()[row_N]
        factor_N = torch.zeros_like(reward_N)
        factor_N[1:] = self._discount * goes_on_N[:-1]
        keys = [rows.stream_key_S[stream] for stream in order_S]
        position = 0
        ends: dict[tuple[int, int], int] = {}
        for key, length in zip(keys, length_S.tolist(), strict=True):
            if key not in ends and length:
                factor_N[position] = 0.0
                reward_N[position] += self._discount * self._gathered.get(key, 0.0)
            position += length
            if length:
                ends[key] = position - 1
        return_N = backward_sums(reward_N.flip(0), factor_N.flip(0)).flip(0)
        last = list(ends.values())
        self._gathered |= dict(zip(ends, (return_N[last] * goes_on_N[last]).tolist(), strict=True))
        return return_N

    def get_state(self) -> StateTree:
        """Copy what unfinished episodes have gathered."""
        return {
            "stream_keys": np.array(list(self._gathered), np.int64).reshape(-1, 2),
            "gathered": np.array(list(self._gathered.values()), np.float64),
        }

    def set_state(self, state: StateTree) -> None:
        """Take over what `get_state` returned."""
        keys = (tuple(key) for key in state["stream_keys"].tolist())
        self._gathered = dict(zip(keys, state["gathered"].tolist(), strict=True))
