"""Running normalisation, as state of the module.

Axes: N rows of a batch; P policies and R rows of each, where statistics are those of several policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

EPSILON = 1e-8


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """Count, mean and summed squared deviations of numbers, in float64; of P policies [P, ...]."""

    count: Tensor
    """[] how many rows."""
    mean: Tensor
    """[...] per component."""
    m2: Tensor
    """[...] sum of squared deviations from the mean, per component."""


def moments(rows: Tensor) -> Moments:
    """Measure rows [N, ...]."""
    rows = rows.to(torch.float64)
    count = torch.tensor(float(len(rows)), dtype=torch.float64, device=rows.device)
    if len(rows) == 0:
        return Moments(count=count, mean=rows.sum(0), m2=rows.sum(0))
    mean = rows.mean(0)
    return Moments(count=count, mean=mean, m2=(rows - mean).square().sum(0))


def stacked_moments(rows: Tensor, is_row: Tensor) -> Moments:
    """Measure each policy's rows [P, R, ...], those where `is_row` [P, R] is true."""
    rows = rows.to(torch.float64)
    count = is_row.sum(1, dtype=torch.float64)
    is_row, divisor = _spread(is_row, rows), _spread(count.clamp(min=1.0), rows[:, 0])
    zero = torch.zeros((), dtype=rows.dtype, device=rows.device)
    mean = torch.where(is_row, rows, zero).sum(1) / divisor
    m2 = torch.where(is_row, rows - mean.unsqueeze(1), zero).square().sum(1)
    return Moments(count=count, mean=mean, m2=m2)


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Combine the moments of two sets of rows as if they had been measured together.

    delta = mean_b - mean_a
    mean  = mean_a + delta * n_b / n
    m2    = m2_a + m2_b + delta^2 * n_a * n_b / n            Chan, Golub and LeVeque 1979
    """
    count = a.count + b.count
    share = _spread(b.count / count.clamp(min=1.0), a.mean)
    delta = b.mean - a.mean
    m2 = a.m2 + b.m2 + delta.square() * _spread(a.count, a.mean) * share
    return Moments(count=count, mean=a.mean + delta * share, m2=m2)


def _spread(per_policy: Tensor, like: Tensor) -> Tensor:
    """Give a number for each policy, or for each policy and row, axes of size 1 behind its own."""
    return per_policy.reshape((*per_policy.shape, *[1] * (like.dim() - per_policy.dim())))


class RunningNormalizer(nn.Module):
    """Mean and deviation of everything merged so far, for arrays of one shape.

    Accumulates in float64 and applies in float32, so that a graph and torch agree. While nothing
    has been merged it only clips. With stacked statistics [P, ...] it takes rows [P, R, ...].
    """

    count: Tensor
    mean: Tensor
    m2: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, shape: tuple[int, ...], *, clip: float) -> None:
        """Start with nothing merged."""
        super().__init__()
        self.clip = clip
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("m2", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    @property
    def moments(self) -> Moments:
        """All that was merged."""
        return Moments(count=self.count, mean=self.mean, m2=self.m2)

    @torch.no_grad()
    def merge(self, batch: Moments) -> None:
        """Take in rows measured elsewhere; a count of zero changes nothing."""
        merged = merge_moments(self.moments, batch)
        self.count.copy_(merged.count)
        self.mean.copy_(merged.mean)
        self.m2.copy_(merged.m2)
        self.shift.copy_(self.mean)
        count = _spread(self.count, self.mean)
        scale = (self.m2 / count.clamp(min=1.0) + EPSILON).rsqrt()
        self.scale.copy_(torch.where(count > 0, scale, self.scale))

    def forward(self, rows: Tensor) -> Tensor:
        """Normalise rows [..., shape] to float32 within the clip."""
        shift, scale = self._for_rows(self.shift), self._for_rows(self.scale)
        return ((rows.float() - shift) * scale).clamp(-self.clip, self.clip)

    def scale_only(self, rows: Tensor) -> Tensor:
        """Divide by the deviation and keep the mean, as rewards need it."""
        return (rows.float() * self._for_rows(self.scale)).clamp(-self.clip, self.clip)

    def _for_rows(self, statistic: Tensor) -> Tensor:
        return statistic if self.count.dim() == 0 else statistic.unsqueeze(1)

    def extra_repr(self) -> str:
        """Name what weights do not say."""
        return f"shape={tuple(self.shift.shape)}, clip={self.clip}"


class ObservationNormalizer(nn.Module):
    """One running normaliser for each float Box leaf of the observation."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], *, clip: float) -> None:
        """Cover the leaves {path: shape}."""
        super().__init__()
        self.paths = tuple(shapes)
        self.leaves = nn.ModuleList(RunningNormalizer(shape, clip=clip) for shape in shapes.values())

    def forward(self, observations: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the observations {path: [..., shape]} with the covered leaves normalised."""
        normalized = dict(observations)
        for path, leaf in zip(self.paths, self.leaves, strict=True):
            normalized[path] = leaf(observations[path])
        return normalized

    def measure(self, observations: Mapping[str, Tensor]) -> dict[str, Moments]:
        """Measure those covered leaves that observations {path: [N, ...]} have; changes nothing."""
        return {path: moments(observations[path]) for path in self.paths if path in observations}

    def measure_stacked(self, observations: Mapping[str, Tensor], is_row: Tensor) -> dict[str, Moments]:
        """Measure each policy's rows {path: [P, R, ...]} where `is_row` [P, R] is true; changes nothing."""
        return {
            path: stacked_moments(observations[path], is_row) for path in self.paths if path in observations
        }

    def merge(self, batch: Mapping[str, Moments]) -> None:
        """Take in what `measure` returned, here or on other ranks; paths left out stay as they are."""
        for path, leaf in zip(self.paths, self.leaves, strict=True):
            assert isinstance(leaf, RunningNormalizer)
            if path in batch:
                leaf.merge(batch[path])

    def extra_repr(self) -> str:
        """Name what weights do not say."""
        return f"paths={self.paths}"
