"""What one runner tells Ray's metrics, which its dashboard and Prometheus show."""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge, Histogram

from outrider.wire import SamplingStatistics

_TAGS = ("run", "runner")
_FRAGMENT_S = [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]


class RunnerMetrics:
    """Counters and gauges of one runner, written once for each fragment."""

    def __init__(self, run: str, index: int) -> None:
        """Tag everything with the run's name and the runner's number."""
        tags = {"run": run, "runner": str(index)}
        self._env_steps = Counter("outrider_env_steps", "Transitions sampled", tag_keys=_TAGS)
        self._lost_rows = Counter(
            "outrider_lost_rows", "Transitions dropped because an environment failed", tag_keys=_TAGS
        )
        self._rate = Gauge(
            "outrider_runner_env_steps_per_s", "Transitions per second of the last fragment", tag_keys=_TAGS
        )
        self._fragment_s = Histogram(
            "outrider_fragment_s", "Seconds that a fragment took to sample", _FRAGMENT_S, tag_keys=_TAGS
        )
        for metric in (self._env_steps, self._lost_rows, self._rate, self._fragment_s):
            metric.set_default_tags(tags)

    def record(self, num_rows: int, statistics: SamplingStatistics) -> None:
        """Add one fragment."""
        self._rate.set(num_rows / max(statistics.total_s, 1e-9))
        self._fragment_s.observe(statistics.total_s)
        if num_rows:  # Ray counts nothing that is not above 0
            self._env_steps.inc(num_rows)
        if statistics.num_lost_rows:
            self._lost_rows.inc(statistics.num_lost_rows)
