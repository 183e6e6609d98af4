"""However connections break: what the driver gets is what is acknowledged, once, and every ask is answered.

The runner here keeps to the protocol; the network does what it likes.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings, RunnerPlan
from outrider.envrunner.fleet.remote_runners import Lost, Sampled
from outrider.envrunner.gateway.gateway import SAMPLE, Gateway
from outrider.envrunner.gateway.runner_session import RunnerSession
from outrider.testing.connections import ConnectionPair
from outrider.testing.dialled_gateway import MemoryPort
from outrider.testing.numbered_runner import numbered_weights
from outrider.testing.raw_runner import JOIN, NUMBERED_GRAPH, numbered_fragment
from outrider.transport.connection import Connection
from outrider.transport.security import ServerSecurity
from outrider.wire import encode_fragment, session
from outrider.wire.session_codec import decode_sample_response, encode_sample_request

DEEDS = (
    "ask", "ask", "offer", "sample", "sample", "drive", "cut", "dial", "dial_slowly", "arrive",
    "stick", "give_up",
)  # fmt: skip


class Runner:
    """Does what `runner_service.proto` says of runners. A `Receiver`; only its newest connection counts."""

    def __init__(self) -> None:
        self.key = ""
        self.connection: Connection | None = None
        self.is_welcome = False
        self.asks: deque[session.Ask] = deque()
        self.last_ask = 0
        self.version: int | None = None
        self.unacknowledged: dict[int, int] = {}
        """Numbers of fragments by sequence."""
        self.acknowledged: list[int] = []
        self.num_sampled = 0

    def join(self, connection: Connection) -> None:
        self.connection = connection
        self.is_welcome = False
        join = replace(JOIN, session=self.key, last_ask=self.last_ask, weights_version=self.version)
        connection.send(encode_sample_request(join))

    def sample(self) -> None:
        ask = self.asks[0] if self.asks else None
        if ask is None or self.version is None or self.version < (ask.weights_version or 0):
            return
        self.asks.popleft()
        self.num_sampled += 1
        self.unacknowledged[ask.sequence] = self.num_sampled * 1000 + self.version
        self.deliver(ask.sequence)

    def deliver(self, sequence: int) -> None:
        number, version = divmod(self.unacknowledged[sequence], 1000)
        pieces = encode_fragment(numbered_fragment(number, version=version)).pieces()
        size_bytes = sum(memoryview(piece).nbytes for piece in pieces)
        if self.connection is not None and self.is_welcome:
            head = encode_sample_request(session.FragmentDelivery(sequence), size_bytes)
            self.connection.send(head, pieces)

    def opened(self, connection: Connection) -> None: ...

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        if connection is not self.connection:
            return
        match decode_sample_response(head):
            case session.SessionWelcome() as welcome:
                self.key, self.is_welcome = welcome.session, True
                if welcome.resumed:
                    self.forget(welcome.acknowledged)
                    for sequence in sorted(self.unacknowledged):
                        self.deliver(sequence)
                else:
                    self.asks.clear()
                    self.unacknowledged.clear()
                    self.last_ask, self.version = 0, None
            case session.Assignment():
                connection.send(encode_sample_request(session.Ready()))
            case session.WeightsDelivery(version):
                self.version = version
            case session.Ask() as ask if ask.sequence > self.last_ask:
                assert ask.sequence == self.last_ask + 1
                self.last_ask = ask.sequence
                self.asks.append(ask)
            case session.Acknowledgement(sequence):
                self.forget(sequence)

    def closed(self, connection: Connection, reason: str) -> None:
        if connection is self.connection:
            self.connection = None

    def forget(self, sequence: int) -> None:
        for each in [each for each in self.unacknowledged if each <= sequence]:
            self.acknowledged.append(self.unacknowledged.pop(each) // 1000)


class World:
    """A gateway, a runner, and a network between them that a test moves."""

    def __init__(self, seed: int, *, is_asynchronous: bool) -> None:
        self.is_asynchronous = is_asynchronous
        self.port = MemoryPort()
        made = EnvRunnerSettings(reconnect_timeout_s=1e6)
        plan = RunnerPlan(
            environment=EnvironmentSettings("CartPole-v1"),
            settings=made,
            policy=NUMBERED_GRAPH,
            num_steps=1,
            seed=0,
        )
        security = ServerSecurity()
        self.gateway = Gateway(
            plan, made, num_seats=1, address="memory", security=security, listen=self.port.listen
        )
        self.gateway.start(0, incarnation=0)
        self.draw = random.Random(seed)
        self.runner = Runner()
        self.pairs: list[ConnectionPair] = []
        self.slow: list[ConnectionPair] = []
        self.version = self.num_losses = self.num_open = 0
        self.delivered: list[int] = []
        self.sessions: set[RunnerSession] = set()

    def do(self, deed: str) -> None:
        getattr(self, deed)()
        for pair in self.pairs:
            pair.settle()
        self.sessions |= set(self.gateway._runners._sessions.values())

    def ask(self) -> None:
        """Ask as fleets do: as often as they like for the newest weights, or once at a time for others."""
        if self.is_asynchronous:
            self.gateway.ask(0, None)
        elif self.num_open == 0:
            self.version += 1
            self.gateway.ask(0, numbered_weights(self.version))
        else:
            return
        self.num_open += 1

    def offer(self) -> None:
        if self.is_asynchronous:
            self.version += 1
            self.gateway.offer(numbered_weights(self.version))

    def sample(self) -> None:
        self.runner.sample()

    def drive(self) -> None:
        for event in self.gateway.events(0):
            if isinstance(event, Sampled):
                self.num_open -= 1
                self.delivered.append(int(event.fragment.load().rewards[0]))
            elif isinstance(event, Lost):
                self.num_losses += 1
                self.num_open = 0
                self.gateway.start(0, incarnation=self.num_losses)

    def cut(self) -> None:
        if self.pairs:
            self.draw.choice(self.pairs).cut()

    def dial(self) -> None:
        self.pairs.append(ConnectionPair(self.port._services[SAMPLE], self.runner))
        self.runner.join(self.pairs[-1].b)

    def dial_slowly(self) -> None:
        """Give up an attempt whose join arrives at any later time, also after that of the next attempt."""
        self.pairs.append(ConnectionPair(self.port._services[SAMPLE], self.runner))
        self.pairs[-1].hold()
        self.slow.append(self.pairs[-1])
        self.runner.join(self.pairs[-1].b)
        self.runner.connection = None

    def arrive(self) -> None:
        if self.slow:
            self.slow.pop(self.draw.randrange(len(self.slow))).release()

    def stick(self) -> None:
        if self.pairs:
            self.pairs[-1].hold()
            self.slow.append(self.pairs[-1])

    def give_up(self) -> None:
        """Let the patience with a runner that is away end."""
        with self.gateway._seats.changed:
            for each in self.gateway._runners._sessions.values():
                if not each.is_over and each._connection is None:
                    each.give_up()

    def heal(self) -> None:
        while self.slow:
            self.do("arrive")
        for pair in self.pairs:
            pair.cut()
        self.do("drive")
        self.do("dial")
        self.do("drive")
        for _ in range(2 * self.runner.last_ask + 2):
            self.do("sample")
            self.do("drive")

    def end(self) -> None:
        self.gateway.close()
        for pair in self.pairs:
            pair.__exit__(None, None, None)


@pytest.mark.parametrize("is_asynchronous", [False, True])
@settings(deadline=None, max_examples=120, derandomize=True)
@given(
    deeds=st.lists(st.sampled_from(DEEDS), max_size=40),
    first=st.sampled_from([(), ("stick",)]),
    seed=st.integers(0, 99),
)
def test_what_the_driver_gets_is_what_is_acknowledged_however_connections_break(
    deeds: list[str], first: tuple[str, ...], seed: int, is_asynchronous: bool
) -> None:
    world = World(seed, is_asynchronous=is_asynchronous)
    try:
        for deed in ("dial", *first, "offer", "ask", *deeds):
            world.do(deed)
        world.heal()
        runner, delivered = world.runner, world.delivered
        assert len(set(delivered)) == len(delivered)
        assert set(runner.acknowledged) <= set(delivered)
        assert sum(each._asks.acknowledged for each in world.sessions) == len(delivered)
        assert world.gateway.admission.num_cut_off == 0
        if not world.num_losses:
            assert runner.acknowledged == delivered == sorted(delivered)
            assert not runner.unacknowledged
            assert not runner.asks
            assert len(delivered) == world.gateway._seats._seats[0].holder.num_asked  # type: ignore[union-attr]
    finally:
        world.end()
