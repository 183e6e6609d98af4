"""A gateway without a network, and runners of a farm that dial it from threads of this process.

port = MemoryPort()
gateway = Gateway(plan, settings, num_seats=2, address="memory", security=..., listen=port.listen)
peers = [FarmPeer(port, FarmEnvironment(environment=plan.environment)) for _ in range(2)]
...
gateway.close()  # and all peers end
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from outrider.envrunner.farm.assigned_runner import FarmEnvironment
from outrider.envrunner.farm.dial_again import BackOff
from outrider.envrunner.farm.farm_runner import FarmRunner
from outrider.envrunner.farm.farm_session import FarmSession
from outrider.envrunner.gateway.gateway import SAMPLE
from outrider.envrunner.policies.weights_selection import ON_DEMAND
from outrider.testing.connections import ConnectionPair, PairedConnection
from outrider.transport.connection import DialError, Receiver
from outrider.wire import Hello


class MemoryPort:
    """Where peers of this process dial."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self.address = "memory"
        self.num_refused = 0
        self._services: Mapping[str, Receiver] = {}
        self._pairs: list[ConnectionPair] = []
        self._lock = threading.Lock()

    def listen(self, services: Mapping[str, Receiver]) -> MemoryPort:
        """Let peers in from now on."""
        self._services = services
        return self

    def dial(self, receiver: Receiver, service: str = SAMPLE) -> PairedConnection:
        """Connect. Raises DialError where nobody listens."""
        with self._lock:
            if service not in self._services:
                raise DialError("nobody listens", is_final=True)
            pair = ConnectionPair(self._services[service], receiver)
            self._pairs.append(pair)
            return pair.b

    def cut(self) -> None:
        """Break all connections."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.__exit__(None, None, None)

    def cut_off(self, sentence: str) -> None:
        """Let the newest connection be cut off by the side that listens."""
        self._pairs[-1].cut_off(sentence)

    def settle(self) -> None:
        """Wait until nothing is under way."""
        for pair in list(self._pairs):
            pair.settle()

    def close(self, grace_s: float) -> None:
        """Deliver what is queued, let nobody in any more, and break all connections."""
        with self._lock:
            self._services = {}
        self.settle()
        self.cut()


class FarmPeer:
    """One runner of a farm, on a thread of its own; it ends when the gateway says so, or `end` does."""

    def __init__(self, port: MemoryPort, farm: FarmEnvironment, *, name: str = "peer") -> None:
        """Dial, and make the runners that are asked for."""
        hello = Hello(component="a test", capabilities=frozenset({"bfloat16", "multi_agent", ON_DEMAND}))
        self.session = FarmSession(farm.join(hello, name=name), witness=_Quiet())
        runner = FarmRunner(
            port.dial,
            farm.make_runner,
            self.session,
            _Quiet(),
            give_up_after_s=30,
            back_off=_AtOnce(),
        )
        self.thread = threading.Thread(target=runner.run, name=f"farm {name}", daemon=True)
        self.thread.start()


class _AtOnce(BackOff):
    def next_s(self) -> float:
        return 0.01


class _Quiet:
    def connected(self, sentence: str) -> None: ...

    def lost(self, sentence: str) -> None: ...

    def parted(self, sentence: str) -> None: ...

    def noticed(self, sentence: str) -> None: ...

    def seated(self, known: str) -> None: ...

    def sampled(self, num_env_steps: int, version: int) -> None: ...

    def waits(self, sentence: str) -> None: ...
