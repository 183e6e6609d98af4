"""Whatever bytes a peer sends, the gateway cuts it off with a sentence or takes what it says, and goes on."""

from __future__ import annotations

import logging
import os
import random
import resource

import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings, RunnerPlan
from outrider.envrunner.fleet.remote_runners import Failed, Left, Lost, Sampled
from outrider.envrunner.gateway.gateway import SAMPLE, Gateway
from outrider.testing.dialled_gateway import MemoryPort
from outrider.testing.mutated_messages import SilentLine, mutated
from outrider.testing.numbered_runner import numbered_weights
from outrider.testing.raw_runner import JOIN, NUMBERED_GRAPH, numbered_fragment
from outrider.transport.security import ServerSecurity
from outrider.wire import encode_fragment, encode_tree, session
from outrider.wire.session import GoodbyeReason
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
    service, draw, line = port._services[SAMPLE], random.Random(0), SilentLine()
    weights = numbered_weights(0)
    num_taken, used_kib = 0, 0
    for number in range(NUM_MESSAGES):
        if line.is_closed or number == 0:
            service.closed(line, "closed")
            line = SilentLine()
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
