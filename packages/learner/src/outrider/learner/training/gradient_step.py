"""One step of Adam on all ranks at once, skipped where a loss or gradient is not finite."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from outrider.learner.learner import StateTree
from outrider.learner.ranks import Ranks

FIRST_MOMENT_DECAY, SECOND_MOMENT_DECAY = 0.9, 0.999

BUCKET_BYTES = 25 << 20
"""Gradients that go in one message, as in torch's DistributedDataParallel; a larger one goes alone."""


class GradientStep:
    """Sums gradients over ranks, clips them and takes the step, without waiting for the device.

        m <- 0.9 m + 0.1 g       v <- 0.999 v + 0.001 g^2
        w <- w - lr * (m / (1 - 0.9^n)) / (sqrt(v / (1 - 0.999^n)) + epsilon)

    Kingma and Ba 2015 (arXiv 1412.6980), by torch's fused kernel, which also divides gradients by
    `grad_scale` and does nothing where `found_inf` is 1: clipping and skipping cost no pass of
    their own. The kernel is called directly, since torch.optim.Adam spends 90 us around it on a
    2x64 network, half as long as the backward pass. The count n is one for all parameters.
    """

    def __init__(
        self,
        module: nn.Module,
        ranks: Ranks,
        *,
        grad_clip: float | None,
        adam_epsilon: float,
        bucket_bytes: int = BUCKET_BYTES,
    ) -> None:
        trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._names = list(trained)
        self._parameters: list[Tensor] = list(trained.values())
        self._first = [torch.zeros_like(p, requires_grad=False) for p in self._parameters]
        self._second = [torch.zeros_like(p, requires_grad=False) for p in self._parameters]
        self._count = torch.zeros((), device=self._parameters[0].device)
        self._epsilon, self._grad_clip = adam_epsilon, grad_clip
        self._bucket_bytes = bucket_bytes
        self._learning_rate = 0.0
        self._ranks = ranks

    def set_learning_rate(self, learning_rate: float) -> None:
        self._learning_rate = learning_rate

    def take(self, statistics: Tensor, ranks: Ranks | None = None) -> Tensor:
        """Step by the gradients that `backward` left, and drop them.

        `statistics` [K] are this rank's share of numbers that must be finite; returns their sums over
        all ranks and the norm of the summed gradient behind them [K + 1]. `ranks` are the same as always,
        as `heard` returns them.
        """
        used = [index for index, p in enumerate(self._parameters) if p.grad is not None]
        parameters = [self._parameters[index] for index in used]
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self._ranks.size > 1:
            statistics = self._sum(gradients, statistics, ranks or self._ranks)
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        statistics = torch.cat((statistics, norm[None]))
        skip = (~statistics.isfinite().all()).float()
        self._count += 1.0 - skip
        torch._fused_adam_(
            parameters,
            gradients,
            [self._first[index] for index in used],
            [self._second[index] for index in used],
            [],
            # The kernel wants the count to include a step that it then skips.
            [self._count + skip] * len(used),
            lr=self._learning_rate,
            beta1=FIRST_MOMENT_DECAY,
            beta2=SECOND_MOMENT_DECAY,
            weight_decay=0.0,
            eps=self._epsilon,
            amsgrad=False,
            maximize=False,
            grad_scale=None if self._grad_clip is None else (norm / self._grad_clip).clamp(min=1.0),
            found_inf=skip,
        )
        for p in parameters:
            p.grad = None
        return statistics

    def get_state(self) -> StateTree:
        """Copy the number of steps, and both moments by the names of the parameters."""
        return {
            "count": int(self._count),
            "first_moments": _arrays(self._names, self._first),
            "second_moments": _arrays(self._names, self._second),
        }

    def set_state(self, state: StateTree) -> None:
        """Take over what `get_state` returned."""
        self._count.fill_(state["count"])
        for key, moments in (("first_moments", self._first), ("second_moments", self._second)):
            for name, moment in zip(self._names, moments, strict=True):
                moment.copy_(torch.from_numpy(np.array(state[key][name])))

    def _sum(self, gradients: list[Tensor], statistics: Tensor, ranks: Ranks) -> Tensor:
        """Add up gradients in place and return the sum of `statistics`.

        While one message is under way the next is put together.
        """
        parts = [statistics, *gradients]
        sums = [(bucket, ranks.start_sum(_flat(bucket))) for bucket in buckets(parts, self._bucket_bytes)]
        for bucket, wait in sums:
            total = torch.split(wait(), [part.numel() for part in bucket])
            torch._foreach_copy_(bucket, [part.view_as(one) for part, one in zip(total, bucket, strict=True)])
        return statistics


def buckets(parts: list[Tensor], limit_bytes: int) -> list[list[Tensor]]:
    """Divide `parts`, in order, into runs of at most `limit_bytes`, or of one part that is larger."""
    starts, size_bytes = [0], 0
    for index, part in enumerate(parts):
        if size_bytes and size_bytes + part.nbytes > limit_bytes:
            starts.append(index)
            size_bytes = 0
        size_bytes += part.nbytes
    return [parts[start:stop] for start, stop in pairwise([*starts, len(parts)])]


def _flat(bucket: list[Tensor]) -> Tensor:
    return bucket[0].flatten() if len(bucket) == 1 else torch.cat([part.flatten() for part in bucket])


def _arrays(names: list[str], tensors: list[Tensor]) -> StateTree:
    return {name: np.array(tensor.cpu().numpy()) for name, tensor in zip(names, tensors, strict=True)}
