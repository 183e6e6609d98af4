"""Sampling statistics to and from their message, which is a part of others."""

from __future__ import annotations

import math

from outrider.wire.fragment import SamplingStatistics
from outrider.wire.v1 import fragment_pb2

_SECONDS = ("environment_s", "policy_s", "total_s")
_COUNTS = ("num_lost_rows", "num_restarts")


def check_sampling_statistics(statistics: SamplingStatistics) -> None:
    """Raise ValueError where no runner can have measured this."""
    seconds = (statistics.environment_s, statistics.policy_s, statistics.total_s)
    if not all(math.isfinite(value) and value >= 0 for value in seconds):
        raise ValueError(f"sampling took {seconds} seconds; each is finite and at least 0")
    counts = (statistics.num_lost_rows, statistics.num_restarts)
    if min(counts) < 0:
        raise ValueError(f"sampling counted {counts} lost rows and restarts; each is at least 0")


def write_sampling_statistics(
    message: fragment_pb2.SamplingStatistics, statistics: SamplingStatistics
) -> None:
    """Fill a message."""
    for name in _SECONDS + _COUNTS:
        setattr(message, name, getattr(statistics, name))


def read_sampling_statistics(message: fragment_pb2.SamplingStatistics) -> SamplingStatistics:
    """Return what a message says; the caller checks it."""
    return SamplingStatistics(**{name: getattr(message, name) for name in _SECONDS + _COUNTS})
