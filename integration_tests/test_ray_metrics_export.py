"""A run's metrics reach Ray, from where its dashboard and Prometheus have them."""

from __future__ import annotations

import time
import urllib.request
from contextlib import suppress
from typing import Any

import pytest
import ray

from outrider.algorithm.views.ray_metrics import RayMetrics, ray_is_running

DEADLINE_S = 30.0
ALGORITHM: Any = None


@pytest.fixture(scope="module")
def metrics_url(local_ray: None) -> str:
    [node] = ray.nodes()
    return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"


def test_a_result_is_a_gauge_that_prometheus_reads(metrics_url: str) -> None:
    assert ray_is_running()
    RayMetrics("my-run").on_train_result(ALGORITHM, {"num_env_steps": 4096, "bottleneck": "learning"})
    wanted, deadline = "ray_outrider_num_env_steps{", time.monotonic() + DEADLINE_S
    lines: list[str] = []
    while not lines and time.monotonic() < deadline:
        time.sleep(0.2)
        with suppress(OSError), urllib.request.urlopen(metrics_url, timeout=DEADLINE_S) as page:
            shown = page.read().decode().splitlines()  # once Ray's agent listens, which nobody waits for
            lines = [line for line in shown if line.startswith(wanted) and 'run="my-run"' in line]
    [line] = lines
    assert line.endswith(" 4096.0")
