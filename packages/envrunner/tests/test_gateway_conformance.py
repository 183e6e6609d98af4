"""Fleets over a gateway pass the suites for runner pools, with real runners at its other side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from outrider.envrunner import AsyncRunnerFleet, EnvRunnerSettings, RunnerFleet
from outrider.envrunner.farm.assigned_runner import FarmEnvironment
from outrider.envrunner.gateway.gateway import Gateway
from outrider.testing.async_runner_pool_conformance import AsyncRunnerPoolConformance
from outrider.testing.dialled_gateway import FarmPeer, MemoryPort
from outrider.testing.runner_pool_conformance import PoolSetup, RunnerPoolConformance
from outrider.transport.security import ServerSecurity

NUM_RUNNERS = 2


class Dialled:
    """Makes gateways with as many peers as they have seats, and sees to their end."""

    @pytest.fixture(autouse=True)
    def _end_peers(self) -> Iterator[None]:
        self.peers: list[FarmPeer] = []
        yield
        for peer in self.peers:
            peer.thread.join(10)
            assert not peer.thread.is_alive()

    def dialled(self, setup: PoolSetup) -> tuple[Gateway, EnvRunnerSettings]:
        port = MemoryPort()
        settings = replace(setup.settings, num_env_runners=NUM_RUNNERS, min_runners=NUM_RUNNERS)
        gateway = Gateway(
            setup.plan,
            settings,
            num_seats=NUM_RUNNERS,
            address="memory",
            security=ServerSecurity(),
            listen=port.listen,
        )
        self.peers += [
            FarmPeer(port, FarmEnvironment(environment=setup.plan.environment), name=f"peer {n}")
            for n in range(NUM_RUNNERS)
        ]
        return gateway, settings


class TestGateway(Dialled, RunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> RunnerFleet:
        gateway, settings = self.dialled(setup)
        return RunnerFleet(gateway, settings, num_steps=setup.num_steps)


class TestAsyncGateway(Dialled, AsyncRunnerPoolConformance):
    def make_pool(self, setup: PoolSetup) -> AsyncRunnerFleet:
        gateway, settings = self.dialled(setup)
        return AsyncRunnerFleet(gateway, settings, num_steps=setup.num_steps)
