"""Whatever bytes a peer sends, the gateway cuts it off with a sentence or takes what it says, and goes on."""

from __future__ import annotations

import logging
import os
import random
import resource

import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings, RunnerPlan
from outrider.envrunner.gateway import SAMPLE, Gateway
from outrider.envrunner.remote_runners import Failed, Left, Lost, Sampled
from outrider.testing.dialled_gateway import MemoryPort
from outrider.testing.numbered_runner import numbered_weights
from outrider.testing.raw_runner import JOIN, NUMBERED_GRAPH, numbered_fragment
from outrider.transport.security import ServerSecurity
from outrider.wire import encode_fragment, encode_tree, session
from outrider.wire.session import GoodbyeReason, Terms
from outrider.wire.session_codec import encode_sample_request

NUM_MESSAGES = int(os.environ.get("OUTRIDER_FUZZ_MESSAGES", "5000"))
FRAGMENT = encode_fragment(numbered_fragment()).to_bytes()
TREE = encode_tree({"a": 1}).to_bytes()
HEADS = [
    encode_sample_request(each)
    for each in (
        JOIN,
        session.Ready(),
        session.FragmentDelivery(1),
        session.StateDelivery(1, "no"),
        session.Leaving("bye"),
        session.Goodbye(reason=GoodbyeReason.FAILED, sentence="no"),
    )
]


class Line:
    """A connection without a network: what is sent over it is thrown away."""

    peer, identity, is_sending, broke_rule = "nowhere", "", False, False

    def __init__(self) -> None:
        self.is_closed = False

    def send(self, head: bytes, attachment: object = ()) -> None: ...

    def keep(self, terms: Terms) -> None: ...

    def close(self, last: bytes = b"") -> None:
        self.is_closed = True


def mutated(message: bytes, draw: random.Random) -> bytes:
    """Change a few bytes, cut some out, or put some twice."""
    changed = bytearray(message)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(changed) + 1)
        match draw.randrange(4):
            case 0:
                changed[at : at + 1] = bytes((draw.randrange(256),))
            case 1:
                del changed[at : at + draw.randint(1, 8)]
            case 2:
                changed[at:at] = changed[at : at + draw.randint(1, 8)]
            case 3:
                changed[at : at + 1] = draw.choice((b"\xff" * 10, b"\x00", b"\x80\x80\x80\x80\x08"))
    return bytes(changed)


@pytest.fixture
def gateway_and_port() -> tuple[Gateway, MemoryPort]:
    port = MemoryPort()
    settings = EnvRunnerSettings(reconnect_timeout_s=1e6)
    plan = RunnerPlan(
        environment=EnvironmentSettings("CartPole-v1"),
        settings=settings,
        policy=NUMBERED_GRAPH,
        num_steps=1,
        seed=0,
    )
    security = ServerSecurity()
    gateway = Gateway(plan, settings, num_seats=1, address="memory", security=security, listen=port.listen)
    gateway.start(0, incarnation=0)
    return gateway, port


def test_mutated_messages_cost_their_sender_the_connection_and_nothing_else(
    gateway_and_port: tuple[Gateway, MemoryPort], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "outrider.envrunner")  # lines that pytest keeps are memory, too
    gateway, port = gateway_and_port
    service, draw, line = port._services[SAMPLE], random.Random(0), Line()
    weights = numbered_weights(0)
    num_taken, used_kib = 0, 0
    for number in range(NUM_MESSAGES):
        if line.is_closed or number == 0:
            service.closed(line, "closed")
            line = Line()
            service.opened(line)
            if draw.random() < 0.9:
                service.received(line, HEADS[0], None)
                service.received(line, HEADS[1], None)
        for event in gateway.events(0):
            num_taken += isinstance(event, Sampled)
            if isinstance(event, Lost | Left | Failed):
                gateway.start(0, incarnation=number)
        gateway.ask(0, weights)
        head = HEADS[2] if draw.random() < 0.5 else mutated(draw.choice(HEADS), draw)
        attached = draw.choice((FRAGMENT, TREE))
        attached = attached if draw.random() < 0.2 else mutated(attached, draw)
        service.received(line, head, memoryview(attached))
        if number == NUM_MESSAGES // 2:
            used_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert num_taken > NUM_MESSAGES // 50
    assert gateway.admission.num_cut_off > NUM_MESSAGES // 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used_kib < 20 * 1024
    service.closed(line, "closed")
    gateway.close()
