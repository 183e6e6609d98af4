"""Feeds the module's running normalisers with the rows of all ranks. Axes: N rows, S streams, C chains."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.learner import StateTree
from outrider.learner.ranks import Ranks
from outrider.learner.rows.fragment_rows import Rows, places
from outrider.learner.training.gae import backward_sums
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

    What an episode has gathered when a fragment ends is kept by policy, environment and agent slot. Rewards
    are counted before they are scaled, so that the first update has a scale too; what is not finite
    counts as 0.
    """

    def __init__(self) -> None:
        self._keys = np.zeros(0, _SORTABLE)
        self._gathered = np.zeros(0)

    def scale(self, policy: Policy, rows: Rows, ranks: Ranks, discount: float) -> Tensor:
        """Return the rewards [N] to learn from; those of `rows` where the policy does not normalise."""
        normalizer = policy.reward_normalizer
        if normalizer is None:
            return rows.reward_N
        returns = self.returns(rows, discount).to(rows.reward_N.device)
        normalizer.merge(over_ranks(moments(returns), ranks))
        return normalizer.scale_only(rows.reward_N)

    def returns(self, rows: Rows, discount: float | NDArray[np.float64]) -> Tensor:
        """Return R [N] in float64, of the rows in any order; a `discount` for all streams or each [S]."""
        key_S = _sortable(rows.stream_key_S)
        # Streams of one agent are put behind each other, in the order of their fragments.
        order_S = np.argsort(key_S, kind="stable")
        order_S = order_S[rows.length_S[order_S] > 0]
        key_S, length_S = key_S[order_S], rows.length_S[order_S]
        row_N = places(rows.length_S, order_S)
        reward_N = rows.reward_N.double().cpu()[row_N].nan_to_num(0.0, 0.0, 0.0)
        goes_on_N = ~(rows.terminated_N | rows.truncated_N).cpu()[row_N]
        discount_S = np.broadcast_to(discount, len(rows.length_S))[order_S]
        discount_N = torch.from_numpy(np.repeat(discount_S, length_S))
        factor_N = torch.zeros_like(reward_N)
        factor_N[1:] = discount_N[1:] * goes_on_N[:-1]
        stop_S = np.cumsum(length_S)
        is_first_S = np.concatenate(([True], key_S[1:] != key_S[:-1]))
        first = (stop_S - length_S)[is_first_S]
        factor_N[first] = 0.0
        reward_N[first] += discount_N[first] * torch.from_numpy(self._gathered_by(key_S[is_first_S]))
        return_N = backward_sums(reward_N.flip(0), factor_N.flip(0)).flip(0)
        last = stop_S[np.concatenate((is_first_S[1:], [True]))] - 1
        self._remember(key_S[is_first_S], (return_N[last] * goes_on_N[last]).numpy())
        result_N = torch.empty_like(return_N)
        result_N[row_N] = return_N
        return result_N

    def take(self, policy: int) -> StateTree:
        """Copy what unfinished episodes of one policy have gathered, and forget it."""
        is_of = _numbers(self._keys)[:, 0] == policy
        state = {"stream_keys": _numbers(self._keys[is_of]), "gathered": self._gathered[is_of]}
        self._keys, self._gathered = self._keys[~is_of], self._gathered[~is_of]
        return state

    def put(self, policy: int, state: StateTree) -> None:
        """Take over what `take` returned of that policy, here under any number."""
        self.take(policy)
        keys = np.array(state["stream_keys"], np.int32)
        keys[:, 0] = policy
        self._remember(_sortable(keys), state["gathered"])

    def get_state(self) -> StateTree:
        """Copy what unfinished episodes have gathered."""
        return {"stream_keys": _numbers(self._keys), "gathered": self._gathered.copy()}

    def set_state(self, state: StateTree) -> None:
        """Take over what `get_state` returned."""
        self._keys = _sortable(state["stream_keys"])
        self._gathered = np.array(state["gathered"], np.float64)

    def _gathered_by(self, key_K: NDArray[np.bytes_]) -> NDArray[np.float64]:
        if not len(self._keys):
            return np.zeros(len(key_K))
        place_K = np.minimum(np.searchsorted(self._keys, key_K), len(self._keys) - 1)
        return np.where(self._keys[place_K] == key_K, self._gathered[place_K], 0.0)

    def _remember(self, key_K: NDArray[np.bytes_], gathered_K: NDArray[np.float64]) -> None:
        keys, kept = np.unique(np.concatenate((key_K, self._keys)), return_index=True)
        self._keys, self._gathered = keys, np.concatenate((gathered_K, self._gathered))[kept]


_SORTABLE = np.dtype("S12")
"""Three whole numbers as bytes that sort as they do."""


def _sortable(key_S: NDArray[np.integer[Any]]) -> NDArray[np.bytes_]:
    return np.ascontiguousarray(key_S, ">u4").view(_SORTABLE)[:, 0]


def _numbers(key_S: NDArray[np.bytes_]) -> NDArray[np.int64]:
    return np.ascontiguousarray(key_S).view(">u4").reshape(-1, 3).astype(np.int64)
