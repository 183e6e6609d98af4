"""What one learner tells Ray's metrics, which its dashboard and Prometheus show."""

from __future__ import annotations

import time

from ray.util.metrics import Gauge

_TAGS = ("run", "learner")
_INTERVAL_S = 1.0
"""Ray collects metrics every few seconds; setting them more often shows nothing more."""


class LearnerMetrics:
    """Gauges of one rank, set about once a second."""

    def __init__(self, run: str, rank: int) -> None:
        """Tag everything with the run's name and the rank."""
        tags = {"run": run, "learner": str(rank)}
        self._updates = Gauge("outrider_learner_updates_per_s", "Updates per second", tag_keys=_TAGS)
        self._rows = Gauge("outrider_learner_rows_per_s", "Rows per second that came in", tag_keys=_TAGS)
        self._queue = Gauge("outrider_learner_queue_depth", "Fragments that lie waiting", tag_keys=_TAGS)
        self._staleness = Gauge(
            "outrider_learner_staleness",
            "Versions by which the newest update's oldest fragment was older than the learner",
            tag_keys=_TAGS,
        )
        for gauge in (self._updates, self._rows, self._queue, self._staleness):
            gauge.set_default_tags(tags)
        self._since = time.monotonic()
        self._num_updates = 0
        self._num_rows = 0

    def record(self, num_updates: int, num_rows: int, *, queue_depth: float = 0, staleness: int = 0) -> None:
        """Add some updates."""
        self._num_updates += num_updates
        self._num_rows += num_rows
        seconds = time.monotonic() - self._since
        if seconds < _INTERVAL_S:
            return
        self._updates.set(self._num_updates / seconds)
        self._rows.set(self._num_rows / seconds)
        self._queue.set(queue_depth)
        self._staleness.set(staleness)
        self._since += seconds
        self._num_updates = self._num_rows = 0
