"""Runners that ask for policies again and again, over gRPC: one that never reads them, one that is slow."""

from __future__ import annotations

import queue
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.farm.assigned_runner import FarmEnvironment
from outrider.envrunner.gateway.gateway import SAMPLE, Gateway
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.weights_selection import ON_DEMAND
from outrider.testing.duel import Duel, duel_plan
from outrider.testing.stacked_mlp_graph import stacked_mlp_graph, stacked_mlp_weights
from outrider.transport import LocalWeights
from outrider.transport.outbox import MAX_WAITING
from outrider.transport.security import ServerSecurity
from outrider.transport.stream_connection import StreamConnection
from outrider.wire import Bytes, Hello, PolicyGraph, joint_fingerprint, session
from outrider.wire.session_codec import decode_sample_response, encode_sample_request
from outrider.wire.stream import read_stream_message

PATIENCE_S = 20.0
HELD, NUM_HIDDEN = 4, 700
ANSWER_BYTES = HELD * 4 * NUM_HIDDEN**2
"""Four policies of 2 MB, as many as a runner of this run may want at once."""
NUM_ASKED = 60


@contextmanager
def gateway() -> Iterator[Gateway]:
    """Open a gateway whose runner is up to hold four of nine large policies."""
    small = duel_plan()
    reds, blues = (
        stacked_mlp_graph(stack.policy.observation_space, stack.policy.action_space, num_hidden=NUM_HIDDEN)
        for stack in small.stacks
        if isinstance(stack.policy, PolicyGraph)
    )
    names = [PolicyEntry(name=f"blue {number}", number=number, stack="blues") for number in range(1, 9)]
    plan = replace(
        small,
        stacks=tuple(
            replace(stack, policy=graph) for stack, graph in zip(small.stacks, (reds, blues), strict=True)
        ),
        settings=EnvRunnerSettings(num_envs_per_env_runner=2, max_policies_per_env_runner=HELD),
        policies=(PolicyEntry(name="main", number=0, stack="reds"), *names),
        mapping=Matchups([(1.0, {"red": "main", "blue": blue.name}) for blue in names]),
    )
    parts = [stacked_mlp_weights(reds, "reds", [0]), stacked_mlp_weights(blues, "blues", range(1, 9))]
    stacks = tuple(stack for part in parts for stack in part.stacks)
    tensors = {name: tensor for part in parts for name, tensor in part.tensors.items()}
    whole = replace(parts[0], fingerprint=joint_fingerprint(stacks), tensors=tensors, stacks=stacks)
    made = Gateway(plan, plan.settings, num_seats=1, address="127.0.0.1:0", security=ServerSecurity())
    try:
        made.start(0, incarnation=0)
        made.offer(LocalWeights(whole))
        yield made
    finally:
        made.close()


class Peer:
    """A runner that joins, and reads what it is sent when it likes."""

    def __init__(self, address: str) -> None:
        self._says: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.call = self._channel.stream_stream(f"/{SAMPLE}")(iter(self._says.get, None), timeout=PATIENCE_S)
        hello = Hello(component="a test", capabilities=frozenset({"multi_agent", ON_DEMAND}))
        self.say(FarmEnvironment(environment=EnvironmentSettings(Duel)).join(hello, name="raw"))
        self.say(session.Ready())

    def say(self, message: Any) -> None:
        self._says.put(encode_sample_request(message))

    def want(self, request: int) -> None:
        """Ask for the other half of the policies."""
        halves = ((1, 2, 3, 4), (5, 6, 7, 8))
        self.say(
            session.PoliciesWanted(
                request=request,
                policies=halves[request % 2],
                dropped=halves[1 - request % 2] if request > 1 else (),
            )
        )

    def read_answer(self, pause_s: float) -> int:
        """Read the next policies, with a pause after each piece; return their size."""
        wanted = 0
        for answer in self.call:
            message = read_stream_message(answer)
            if message.attachment_bytes:
                kind = decode_sample_response(answer)
                wanted, came = message.attachment_bytes * isinstance(kind, session.PoliciesDelivery), 0
            elif message.chunk is not None and wanted:
                came += len(message.chunk)
                time.sleep(pause_s)
                if came == wanted:
                    return wanted
        raise AssertionError("the stream ended")

    def close(self) -> None:
        self._says.put(None)
        self._channel.close()


def until_ready(opened: Gateway) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not any(type(event).__name__ == "Ready" for event in opened.events(0.1)):
        assert time.monotonic() < deadline


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the heads of the answers that a gateway has queued."""
    queued: list[bytes] = []
    send = StreamConnection.send

    def noted(to: StreamConnection, head: bytes, pieces: Sequence[Bytes] = ()) -> None:
        send(to, head, pieces)
        if isinstance(decode_sample_response(head), session.PoliciesDelivery):
            queued.append(head)

    monkeypatch.setattr(StreamConnection, "send", noted)
    return queued


def test_one_that_never_reads_is_cut_off_and_memory_stays_bounded(
    answers: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with gateway() as opened:
        peer = Peer(opened.address)
        until_ready(opened)
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        deadline = time.monotonic() + PATIENCE_S
        while not opened.admission.num_cut_off:
            assert time.monotonic() < deadline
            assert len(answers) < NUM_ASKED
            peer.want(len(answers) + 1)
            num_answers = len(answers)
            while len(answers) == num_answers and not opened.admission.num_cut_off:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            opened.events(0.0)
        grown_bytes = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib)
        peer.close()
    assert grown_bytes < (MAX_WAITING + 6) * ANSWER_BYTES < NUM_ASKED * ANSWER_BYTES / 4
    assert "MiB wait that it was sent and does not read; read on, and ask for less at a time" in caplog.text


def test_one_that_is_slow_is_served() -> None:
    with gateway() as opened:
        peer = Peer(opened.address)
        until_ready(opened)
        for request in range(1, 2 * MAX_WAITING):
            peer.want(request)
            assert peer.read_answer(pause_s=0.005) >= ANSWER_BYTES
            opened.events(0.0)
        assert opened.admission.num_cut_off == 0
        peer.close()
