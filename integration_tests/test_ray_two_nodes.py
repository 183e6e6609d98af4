"""A cluster of two nodes on this machine, one of which goes away and another comes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util import placement_group_table

from outrider.algorithm import PPOConfig

BACK_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def cluster(no_ray: None) -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_training_goes_on_without_a_node_and_takes_the_next_one_in(cluster: Cluster) -> None:
    second = cluster.add_node(num_cpus=1)
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .env_runners(num_env_runners=2)
        .resources(ray_address=cluster.address, placement_strategy="SPREAD")
        .training(train_batch_size_per_learner=400, num_epochs=1)
    )
    with config.build() as algorithm:
        assert algorithm.train()["num_lost_rows"] == 0
        assert num_nodes_of_the_run() == 2

        cluster.remove_node(second, allow_graceful=False)
        result = [algorithm.train() for _ in range(3)][-1]
        assert (result["num_lost_rows"], result["num_env_runners"]) == (200, 1)
        assert result["num_env_steps"] == 400 + 3 * 200

        cluster.add_node(num_cpus=1)
        deadline = time.monotonic() + BACK_WITHIN_S
        while algorithm.train()["num_env_runners"] < 2:
            assert time.monotonic() < deadline
        assert num_nodes_of_the_run() == 2


def num_nodes_of_the_run() -> int:
    (group,) = (each for each in placement_group_table().values() if each["state"] == "CREATED")
    return len(set(group["bundles_to_node_id"].values()))
