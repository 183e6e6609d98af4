"""However often a runner's connection breaks, the gateway gets what it would have got without that."""

from __future__ import annotations

import random
import threading
from contextlib import closing
from dataclasses import replace

import pytest

from outrider.envrunner import RunnerFleet
from outrider.envrunner.farm.assigned_runner import FarmEnvironment
from outrider.envrunner.gateway.gateway import Gateway
from outrider.testing.dialled_gateway import FarmPeer, MemoryPort
from outrider.testing.runner_pool_conformance import assert_same_fragments, local_pool, pool_setup, weights_of
from outrider.transport import LocalWeights
from outrider.transport.security import ServerSecurity

NUM_UPDATES = 12
NUM_RUNNERS = 2


class Saboteur:
    """Breaks all connections of a port, again and again, at moments that its seed draws."""

    def __init__(self, port: MemoryPort, seed: int) -> None:
        self.num_cuts = 0
        self._port = port
        self._draw = random.Random(seed)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while not self._is_over.wait(self._draw.uniform(0.0, 0.015)):
            self._port.cut()
            self.num_cuts += 1

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(10)


@pytest.mark.parametrize("seed", range(3))
def test_connections_that_break_change_no_bit_of_what_is_sampled(seed: int) -> None:
    setup, port = pool_setup(), MemoryPort()
    settings = replace(setup.settings, num_env_runners=NUM_RUNNERS, min_runners=NUM_RUNNERS)
    gateway = Gateway(
        setup.plan,
        settings,
        num_seats=NUM_RUNNERS,
        address="memory",
        security=ServerSecurity(),
        listen=port.listen,
    )
    peers = [
        FarmPeer(port, FarmEnvironment(environment=setup.plan.environment), name=f"peer {number}")
        for number in range(NUM_RUNNERS)
    ]
    fleet = RunnerFleet(gateway, settings, num_steps=setup.num_steps)
    with closing(fleet), closing(local_pool(setup, num_runners=NUM_RUNNERS)) as local:
        fleet.sample(LocalWeights(weights_of(setup, 0)))
        local.sample(LocalWeights(weights_of(setup, 0)))
        with closing(Saboteur(port, seed)) as saboteur:
            for version in range(1, NUM_UPDATES):
                weights = LocalWeights(weights_of(setup, version))
                expected = [fragment.load() for fragment in local.sample(weights)]
                assert_same_fragments(expected, [fragment.load() for fragment in fleet.sample(weights)])
        assert saboteur.num_cuts > 3
        assert fleet.statistics().num_lost_rows == 0
    for peer in peers:
        peer.thread.join(10)
        assert not peer.thread.is_alive()
