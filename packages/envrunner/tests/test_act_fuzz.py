"""Whatever bytes environments send that are acted for here, they are cut off or played, and nothing grows."""

from __future__ import annotations

import logging
import os
import random
import resource
import threading
from dataclasses import replace

import numpy as np
import pytest

from outrider.envrunner.fleet.remote_runners import Failed, Left, Lost, Sampled
from outrider.envrunner.gateway.gateway import ACT, Gateway
from outrider.testing.dialled_gateway import MemoryPort
from outrider.testing.mutated_messages import SilentLine, mutated
from outrider.testing.runner_pool_conformance import pool_setup, weights_of
from outrider.transport import LocalWeights
from outrider.transport.security import ServerSecurity
from outrider.wire import Hello, WireError, decode_act_response, encode_act_request, session
from outrider.wire.session import GoodbyeReason

NUM_MESSAGES = int(os.environ.get("OUTRIDER_FUZZ_MESSAGES", "3000"))
SETUP = replace(pool_setup(), num_steps=2)
JOIN = encode_act_request(
    session.Join(
        hello=Hello(component="a liar"),
        name="liar",
        observation_space=SETUP.graph.observation_space,
        action_space=SETUP.graph.action_space,
        num_environments=1,
    )
)
GOODBYE = encode_act_request(session.Goodbye(reason=GoodbyeReason.FAILED, sentence="no"))


def step(sequence: int) -> bytes:
    """Say that nothing special happened."""
    size = 0 if sequence == 1 else 1
    return encode_act_request(
        session.Step(
            sequence=sequence,
            observations={"": np.zeros((1, 4), np.float32)},
            rewards=np.ones(size, np.float32),
            terminated=np.zeros(size, np.bool_),
            truncated=np.zeros(size, np.bool_),
            ended=np.zeros(0, np.int64),
            final_observations={},
        )
    )


class Peer(SilentLine):
    """Knows which step is due."""

    def __init__(self) -> None:
        super().__init__()
        self.due = 1
        self.acted = threading.Event()

    def send(self, head: bytes, attachment: object = ()) -> None:
        match decode_act_response(head):
            case session.Action(sequence=sequence):
                self.due = sequence + 1
                self.acted.set()


def test_mutated_steps_cost_their_sender_the_stream_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL, "outrider.envrunner")
    port, weights = MemoryPort(), LocalWeights(weights_of(SETUP, 0))
    gateway = Gateway(
        SETUP.plan,
        SETUP.settings,
        num_seats=1,
        address="memory",
        security=ServerSecurity(),
        listen=port.listen,
    )
    gateway.start(0, incarnation=0)
    service, draw, peer = port._services[ACT], random.Random(0), Peer()
    num_sampled, num_failed, num_acted, used_kib = 0, 0, 0, 0
    for number in range(NUM_MESSAGES):
        if peer.is_closed or number == 0:
            service.closed(peer, "closed")
            peer = Peer()
            service.opened(peer)
            if draw.random() < 0.9:
                service.received(peer, JOIN, None)
                service.received(peer, step(1), None)
        for event in gateway.events(0):
            num_sampled += isinstance(event, Sampled)
            num_failed += isinstance(event, Failed)
            if isinstance(event, Lost | Left | Failed):
                gateway.start(0, incarnation=number)
        gateway.ask(0, weights)
        if draw.random() < 0.95:
            num_acted += peer.acted.wait(0.02)
            peer.acted.clear()
            message = step(peer.due)
        else:
            message = mutated(draw.choice((JOIN, step(peer.due), step(peer.due), GOODBYE)), draw)
        try:
            service.received(peer, message, None)
        except WireError:
            peer.close()  # as a connection does
        if number == NUM_MESSAGES // 2:
            used_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used_kib
    num_cut_off = gateway.admission.num_cut_off
    print(f"{num_sampled} fragments, {num_cut_off} cut off, {grown_kib} KiB more than {used_kib}")
    assert num_acted > NUM_MESSAGES // 2
    assert num_sampled > NUM_MESSAGES // 50
    assert num_failed == 0
    assert num_cut_off > NUM_MESSAGES // 100
    assert grown_kib < 20 * 1024
    service.closed(peer, "closed")
    gateway.close()
