"""What ranks that train policies of their own say of their updates. Free of torch and Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Of all ranks together."""

    metrics: tuple[Mapping[str, float], ...]
    """Of each rank's newest update."""
    work_s: float
    """Mean over ranks, as are `wait_s` and `queue_depth`."""
    wait_s: float
    queue_depth: float


class SliceWork:
    """Adds up seconds and depths of queues."""

    def __init__(self, num_ranks: int) -> None:
        self._num_ranks = num_ranks
        self._metrics: dict[int, Mapping[str, float]] = {}
        self._reset()

    def add(self, rank: int, answer: Mapping[str, Any]) -> None:
        """Take in what a rank answered of some updates."""
        self._metrics[rank] = answer["metrics"]
        self._work_s += answer["work_s"]
        self._wait_s += answer["wait_s"]
        self._num_updates += answer["num_updates"]
        self._queue_depths += answer["queue_depth"] * answer["num_updates"]

    def take(self) -> Work:
        """Return what came since the last call."""
        work = Work(
            metrics=tuple(self._metrics[rank] for rank in sorted(self._metrics)),
            work_s=self._work_s / self._num_ranks,
            wait_s=self._wait_s / self._num_ranks,
            queue_depth=self._queue_depths / max(1, self._num_updates),
        )
        self._reset()
        return work

    def _reset(self) -> None:
        self._work_s = self._wait_s = self._queue_depths = 0.0
        self._num_updates = 0
