"""Runs whose learner service is behind a network that breaks, hangs and is slow."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from learner_process import running
from outrider.algorithm import Algorithm, APPOConfig, PPOConfig
from outrider.testing.chaos_proxy import ChaosProxy

CHAOS_S = 6.0
BETWEEN_SNAPSHOTS = 2


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """Run an `outrider-learner` and return its address."""
    with running() as made:
        yield made.address


@pytest.fixture
def proxy(service: str) -> Iterator[ChaosProxy]:
    with ChaosProxy(service) as made:
        yield made


@contextmanager
def at_the_service(config: Any, proxy: ChaosProxy) -> Iterator[Algorithm]:
    config = (
        config.environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=4)
        .learners(
            learner_address=proxy.address,
            max_learner_restarts=50,
            num_updates_between_snapshots=BETWEEN_SNAPSHOTS,
        )
        .training(train_batch_size_per_learner=256)
        .debugging(seed=5)
    )
    with config.build() as algorithm:
        yield algorithm


@contextmanager
def cuts(proxy: ChaosProxy) -> Iterator[None]:
    """Cut now and again as long as the block lasts, in the middle of what is sent."""
    rng, over = random.Random(3), threading.Event()

    def rage() -> None:
        while not over.wait(rng.uniform(0.1, 0.6)):
            proxy.latency_s = rng.choice([0.0, 0.01])
            proxy.cut_after_bytes = rng.choice([None, (1e5, 3e6)])
            proxy.cut()

    raging = threading.Thread(target=rage)
    raging.start()
    try:
        yield
    finally:
        over.set()
        raging.join()
        proxy.cut_after_bytes, proxy.latency_s = None, 0.0


def version(algorithm: Algorithm) -> int:
    return algorithm._loop.weights.version


@pytest.mark.parametrize("config", [PPOConfig, APPOConfig])
def test_a_run_goes_on_however_often_its_service_is_cut_off(config: Any, proxy: ChaosProxy) -> None:
    with at_the_service(config(), proxy) as algorithm:
        results, versions = [algorithm.train()], [version(algorithm)]
        ends = time.monotonic() + CHAOS_S
        with cuts(proxy):
            while time.monotonic() < ends:
                results.append(algorithm.train())
                versions.append(version(algorithm))
        disturbed = results[-1]
        for _ in range(3):
            results.append(algorithm.train())
            versions.append(version(algorithm))
    assert versions == sorted(set(versions))
    steps = [result["num_env_steps"] for result in results]
    assert steps == sorted(set(steps))
    num_cuts, num_lost = disturbed["num_learner_restarts"], disturbed["num_lost_updates"]
    print(
        f"{len(results)} iterations, {num_cuts} times back, {num_lost} updates lost, version {versions[-1]}"
    )
    assert num_cuts >= 3
    assert num_lost <= num_cuts * 2 * (BETWEEN_SNAPSHOTS + 1)
    assert results[-1]["num_learner_restarts"] <= num_cuts + 1


def test_a_service_that_cannot_be_heard_is_given_up_and_found_again(
    proxy: ChaosProxy, caplog: pytest.LogCaptureFixture
) -> None:
    with at_the_service(PPOConfig(), proxy) as algorithm:
        before = algorithm.train()
        proxy.is_half_open = True

        def heal() -> None:
            ends = time.monotonic() + 60
            while "go back by" not in caplog.text and time.monotonic() < ends:
                time.sleep(0.05)
            proxy.cut()
            proxy.is_half_open = False

        healing = threading.Thread(target=heal)
        healing.start()
        after = algorithm.train()
        healing.join()
    assert after["num_learner_restarts"] == 1
    assert after["num_env_steps"] == before["num_env_steps"] + 256
