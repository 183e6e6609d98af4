"""Shows the metrics of a run in Ray's dashboard and to its Prometheus."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ray.util.metrics import Gauge

    from outrider.algorithm.algorithm import Algorithm

METRICS = {
    "iteration": "Iterations so far",
    "num_env_steps": "Environment steps so far",
    "num_episodes": "Episodes that have ended so far",
    "num_updates": "Updates of the learners so far",
    "episode_return_mean": "Mean return of the last 100 training episodes",
    "evaluation/episode_return_mean": "Mean return of the last evaluation",
    "env_steps_per_s": "Environment steps per second of the last iteration",
    "runner_work_share": "Share of the time in which runners worked",
    "runner_wait_share": "Share of the time in which runners waited",
    "learner_work_share": "Share of the time in which learners learned",
    "learner_wait_share": "Share of the time in which learners waited for fragments",
    "queue_depth": "Fragments that lay waiting when an update began",
    "staleness_mean": "Versions by which fragments were older than the learner",
    "staleness_max": "The same of the oldest fragment",
    "num_env_runners": "Runners that are up",
    "num_farm_runners": "Runners of farms that are up",
    "num_joined": "Runners of farms that joined so far",
    "num_left": "Runners of farms that left or were lost so far",
    "num_refused": "Peers that did not fit, so far",
    "num_cut_off": "Peers that broke a rule, so far",
    "num_runner_restarts": "Runners made anew so far",
    "num_late_fragments": "Fragments that an update did not wait for, so far",
    "num_lost_rows": "Rows lost so far",
    "num_stale_rows": "Rows thrown away for their age so far",
    "num_learner_restarts": "Times the learners were made anew so far",
    "num_lost_updates": "Updates undone so far",
}
"""What goes out, and what Prometheus says about it."""


def ray_is_running() -> bool:
    """Return whether this process is connected to Ray. Imports nothing: who did not use Ray, does not."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


class RayMetrics:
    """A callback that sets a gauge for each metric, tagged with the run's name."""

    def __init__(self, run: str) -> None:
        """Use the Ray that this process is connected to."""
        self._run = run
        self._gauges: dict[str, Gauge] = {}

    def on_train_result(self, algorithm: Algorithm, result: Mapping[str, Any]) -> None:
        """Send what Ray collects every few seconds."""
        for name, value in gauge_values(result).items():
            self._gauge(name).set(value)

    def on_checkpoint(self, algorithm: Algorithm, path: Path) -> None:
        """Send nothing."""

    def on_stop(self, algorithm: Algorithm, reason: str) -> None:
        """Send nothing."""

    def _gauge(self, name: str) -> Gauge:
        if name not in self._gauges:
            from ray.util.metrics import Gauge

            exported = f"outrider_{name.replace('/', '_')}"
            self._gauges[name] = Gauge(exported, METRICS[name], tag_keys=("run",))
            self._gauges[name].set_default_tags({"run": self._run})
        return self._gauges[name]


def gauge_values(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a result that go out."""
    return {name: float(result[name]) for name in METRICS if name in result and math.isfinite(result[name])}
