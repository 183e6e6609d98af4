"""Fleets over fake runners pass the suites for runner pools."""

from __future__ import annotations

from outrider.envrunner import AsyncRunnerFleet, RunnerFleet
from outrider.testing.async_runner_pool_conformance import AsyncRunnerPoolConformance
from outrider.testing.fake_runners import FakeRunners
from outrider.testing.runner_pool_conformance import PoolSetup, RunnerPoolConformance


class TestRunnerFleet(RunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> RunnerFleet:
        remote = FakeRunners(setup.plan.make_runner, num_runners=2)
        return RunnerFleet(remote, setup.settings, num_steps=setup.num_steps, clock=remote.clock)


class TestAsyncRunnerFleet(AsyncRunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> AsyncRunnerFleet:
        remote = FakeRunners(setup.plan.make_runner, num_runners=2)
        return AsyncRunnerFleet(remote, setup.settings, num_steps=setup.num_steps, clock=remote.clock)
