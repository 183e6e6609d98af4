"""A training script that is submitted to a cluster as a job, and knows nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

SCRIPT = """
import ray
from outrider.algorithm import PPOConfig

config = (
    PPOConfig()
    .environment("CartPole-v1")
    .env_runners(num_env_runners=1)
    .training(train_batch_size_per_learner=200, num_epochs=1)
)
with config.build() as algorithm:
    steps = algorithm.train()["num_env_steps"]
    print("trained", steps, "steps at", ray.get_runtime_context().gcs_address)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 2,
            "include_dashboard": True,
            "dashboard_port": 0,
            "dashboard_agent_listen_port": 0,
        },
    )
    yield cluster
    cluster.shutdown()


def test_a_submitted_script_trains_on_the_cluster_that_took_it(cluster: Cluster, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    deadline = time.monotonic() + 60
    done = submitted(cluster, script)
    while "No available agent" in done.stderr and time.monotonic() < deadline:
        time.sleep(0.5)  # the cluster is younger than the part of it that takes jobs
        done = submitted(cluster, script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"trained 200 steps at {cluster.address}" in done.stdout


def submitted(cluster: Cluster, script: Path) -> subprocess.CompletedProcess[str]:
    ray_command = Path(sys.executable).with_name("ray")
    address = f"http://{cluster.head_node.webui_url}"
    return subprocess.run(
        [str(ray_command), "job", "submit", "--address", address, "--", sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
    )
