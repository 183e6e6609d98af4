"""A gateway under attack: each peer that lies, floods or stalls is told why, counted and cut off.

A runner that keeps to the rules works beside them all the time, and is not disturbed.
"""

from __future__ import annotations

import os
import random
import re
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import grpc
import numpy as np
import pytest

from attacked_gateway import JOIN, PATIENCE_S, PICKLE, Peer, Scene, Unpickled
from gateway_attacks import ATTACKS, say
from outrider.envrunner.gateway import runner_service
from outrider.envrunner.gateway.gateway import ACT
from outrider.transport import grpc_listener, liveness
from outrider.wire import Hello, TupleSpace, session
from outrider.wire.session_codec import (
    encode_act_request,
    encode_sample_request,
)
from outrider.wire.stream import HEARTBEAT, chunk_message

NUM_FUZZED = int(os.environ.get("OUTRIDER_FUZZ_SOCKET_MESSAGES", "1000"))


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc_listener, "FIRST_MESSAGE_TIMEOUT_S", 0.5)
        patch.setattr(runner_service, "_JOIN_S", 1.5)
        patch.setattr(liveness, "PACE_WINDOW_S", 0.5)
        made = Scene()
        try:
            yield made
        finally:
            made.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_who_breaks_a_rule_is_told_which_counted_and_cut_off_and_an_honest_runner_goes_on(
    scene: Scene, name: str
) -> None:
    attack, expected = ATTACKS[name]
    before = scene.num_cut_off
    with Peer(scene.gateway.address) as peer:
        attack(peer)
        said = peer.sentence()
    assert re.search(expected, said), said
    assert len(said) < 1200
    wait_until_one_more_is_cut_off(scene, before)
    scene.wait_for_the_honest(2)
    assert not any(each.startswith("0:") for each in scene.lost)
    assert not Unpickled.traces


def wait_until_one_more_is_cut_off(scene: Scene, before: int) -> None:
    """Wait for the count, which may follow what the peer is told."""
    deadline = time.monotonic() + PATIENCE_S
    while scene.num_cut_off == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert scene.num_cut_off == before + 1


def step(sequence: int = 1, value: float = 0.0) -> bytes:
    none = np.zeros(0, np.float32)
    first = session.Step(
        sequence=sequence,
        observations={"": np.full((1, 4), value, np.float32)},
        rewards=none,
        terminated=none.astype(np.bool_),
        truncated=none.astype(np.bool_),
        ended=none.astype(np.int64),
        final_observations={},
    )
    return encode_act_request(first)


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([b"\xff\xff"], "message of a"),
        ([PICKLE], "message of a"),
        ([step()], "a step came before join"),
        ([encode_act_request(JOIN)] * 2, "join came twice"),
        ([encode_act_request(JOIN), step(value=np.nan)], "NaN or infinity"),
        ([encode_act_request(JOIN), step(5)], "step 5 came and step 1 is due"),
    ],
)
def test_environments_that_are_acted_for_are_held_to_the_rules_too(
    scene: Scene, messages: list[bytes], expected: str
) -> None:
    before = scene.num_cut_off
    with Peer(scene.gateway.address, ACT) as peer:
        say(*messages)(peer)
        assert re.search(expected, peer.sentence())
    wait_until_one_more_is_cut_off(scene, before)
    scene.wait_for_the_honest(2)


def test_a_message_that_grpc_itself_would_unpack_takes_no_memory(scene: Scene) -> None:
    with Peer(scene.gateway.address, compression=grpc.Compression.Gzip) as peer:
        peer.say(encode_sample_request(JOIN))
        peer.hear(session.SessionWelcome)  # packing takes longer than a first message may
        used_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peer.say(bytes(2**26))  # 64 KiB on the way; the peer's own copies are in this process, too
        with pytest.raises(grpc.RpcError) as refusal:
            list(peer.call)
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # by gRPC itself, with a sentence
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used_kib < 5 * 2**16
    scene.wait_for_the_honest(2)


def test_a_session_that_is_guessed_is_not_taken_over(scene: Scene) -> None:
    with Peer(scene.gateway.address) as peer:
        peer.say(encode_sample_request(replace(JOIN, session="guess", last_ask=3)))
        welcome = peer.hear(session.SessionWelcome)
        assert not welcome.resumed
        assert welcome.session not in {"", "guess"}


def test_what_a_peer_calls_itself_does_not_reach_a_terminal(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    loud = "\x1b[2J\x1b]0;owned\x07\nERROR all is lost"
    join = replace(JOIN, name=loud, hello=Hello(component=loud, versions={loud: loud}))
    other = replace(join, action_space=TupleSpace(spaces=()))
    for each in (join, other):
        with Peer(scene.gateway.address) as peer:
            peer.say(encode_sample_request(each))
            peer.hear(session.SessionWelcome)
            goodbye = session.Goodbye(reason=session.GoodbyeReason.FAILED, sentence=loud)
            peer.say(encode_sample_request(session.Leaving(loud)))
            peer.say(encode_sample_request(goodbye))
            with suppress(grpc.RpcError):
                list(peer.call)
    scene.wait_for_the_honest(3)
    told = [line for line in caplog.messages if "all is lost" in line]
    assert told
    assert all(line.isprintable() for line in caplog.messages)


def test_the_network_answers_others_soon_while_it_is_attacked(scene: Scene) -> None:
    ends = threading.Event()

    def attack(name: str) -> None:
        while not ends.is_set():
            with suppress(AssertionError, grpc.RpcError), Peer(scene.gateway.address) as peer:
                ATTACKS[name][0](peer)
                peer.sentence()

    names = ("many spaces", "a million capabilities", "a bomb", "a flood")
    attackers = [threading.Thread(target=attack, args=(name,)) for name in names]
    for each in attackers:
        each.start()
    delays_s = []
    with grpc.insecure_channel(scene.gateway.address) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        for _ in range(100):
            began = time.perf_counter()
            check(b"", timeout=PATIENCE_S)
            delays_s.append(time.perf_counter() - began)
            time.sleep(0.02)
    scene.wait_for_the_honest(3)
    ends.set()
    for each in attackers:
        each.join(PATIENCE_S)
    print(f"median {np.median(delays_s) * 1000:.1f} ms, max {max(delays_s) * 1000:.1f} ms")
    # The attackers and the honest runner share this process's interpreter with the gateway.
    assert np.median(delays_s) < 0.1
    assert max(delays_s) < 2.0


def test_mutated_messages_over_a_socket_leave_memory_as_it_was(scene: Scene) -> None:
    draw = random.Random(1)
    heads = [
        encode_sample_request(each)
        for each in (JOIN, session.Ready(), session.Leaving("so"), session.StateDelivery(1, "no"))
    ]
    heads += [chunk_message([b"abc"]), HEARTBEAT, encode_sample_request(session.FragmentDelivery(1), 99)]

    def mutated(message: bytes) -> bytes:
        changed = bytearray(message)
        for _ in range(draw.randint(0, 3)):
            at = draw.randrange(len(changed) + 1)
            changed[at : at + draw.randint(0, 2)] = draw.randbytes(draw.randint(0, 2))
        return bytes(changed)

    used_kib = 0
    for number in range(NUM_FUZZED // 5):
        with Peer(scene.gateway.address) as peer:
            for _ in range(5):
                peer.say(mutated(draw.choice(heads)))
            if number % 50 == 0:
                scene.wait_for_the_honest(1)
        if number == NUM_FUZZED // 10:
            used_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scene.wait_for_the_honest(3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used_kib < 40 * 1024
