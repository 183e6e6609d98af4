"""Runners as Ray actors: the suites for pools, and what crosses between the two sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import ray

from outrider.envrunner import AsyncRunnerFleet, RunnerFleet
from outrider.envrunner.ray_runners import RayRunners
from outrider.testing.async_runner_pool_conformance import AsyncRunnerPoolConformance
from outrider.testing.runner_pool_conformance import PoolSetup, RunnerPoolConformance

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        _system_config={"worker_niceness": 0},
    )
    yield
    ray.shutdown()


def no_cpus(index: int) -> dict[str, Any]:
    return {"num_cpus": 0}


def ray_runners(setup: PoolSetup, *, num_runners: int = 2) -> RayRunners:
    return RayRunners(setup.plan, num_runners=num_runners, options=no_cpus)


class TestFleetOnRay(RunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> RunnerFleet:
        return RunnerFleet(ray_runners(setup), setup.settings, num_steps=setup.num_steps)


class TestAsyncFleetOnRay(AsyncRunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> AsyncRunnerFleet:
        return AsyncRunnerFleet(ray_runners(setup), setup.settings, num_steps=setup.num_steps)
