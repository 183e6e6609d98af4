"""A gateway under attack: each peer that lies, floods or stalls is told why, counted and cut off.

A runner that keeps to the rules works beside them all the time, and is not disturbed.
"""

from __future__ import annotations

import os
import pickle
import queue
import random
import re
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

import grpc
import numpy as np
import pytest

from outrider.envrunner.farm.assigned_runner import FarmEnvironment
from outrider.envrunner.fleet.remote_runners import Failed, Left, Lost, Ready, Sampled
from outrider.envrunner.gateway import runner_service
from outrider.envrunner.gateway.gateway import ACT, SAMPLE, Gateway
from outrider.envrunner.policies.weights_loading import load_newer
from outrider.testing.dialled_gateway import FarmPeer, MemoryPort
from outrider.testing.runner_pool_conformance import pool_setup, weights_of
from outrider.transport import LocalWeights, grpc_listener, liveness
from outrider.transport.grpc_dialer import dial
from outrider.transport.security import ClientSecurity, ServerSecurity
from outrider.wire import Fragment, Hello, TupleSpace, encode_fragment, encode_tree, session
from outrider.wire.session_codec import (
    decode_sample_response,
    encode_act_request,
    encode_sample_request,
)
from outrider.wire.stream import HEARTBEAT, chunk_message, read_stream_message
from outrider.wire.v1 import runner_service_pb2, space_pb2

PATIENCE_S = 10.0
SETUP = pool_setup()
WEIGHTS = LocalWeights(weights_of(SETUP, 0))
JOIN = session.Join(
    hello=Hello(component="a liar"),
    name="liar",
    observation_space=SETUP.graph.observation_space,
    action_space=SETUP.graph.action_space,
    num_environments=1,
)
MAX_MESSAGES_PER_S = 1000
NUM_FUZZED = int(os.environ.get("OUTRIDER_FUZZ_SOCKET_MESSAGES", "1000"))


class Unpickled:
    """Leaves a trace where somebody unpickles it."""

    traces: list[str] = []  # noqa: RUF012

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return self.traces.append, ("unpickled",)


PICKLE = pickle.dumps(Unpickled())


class RealPort(MemoryPort):
    """Lets a runner of this process dial an address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    def dial(self, receiver: Any, service: str = SAMPLE) -> Any:
        security = ClientSecurity(insecure=True)
        return dial(self.address, service, receiver, security=security, timeout_s=PATIENCE_S)


class Scene:
    """A gateway, whoever asks its runners for fragments, and an honest runner."""

    def __init__(self) -> None:
        settings = replace(SETUP.settings, max_messages_per_s=MAX_MESSAGES_PER_S)
        self.gateway = Gateway(
            SETUP.plan, settings, num_seats=3, address="127.0.0.1:0", security=ServerSecurity()
        )
        self.num_sampled = [0, 0, 0]
        self.lost: list[str] = []
        self._ends = threading.Event()
        for index in range(3):
            self.gateway.start(index, incarnation=0)
        self._driver = threading.Thread(target=self._drive)
        self._driver.start()
        self._honest = FarmPeer(
            RealPort(self.gateway.address), FarmEnvironment(environment=SETUP.plan.environment), name="honest"
        )
        self.wait_for_the_honest(3)

    def wait_for_the_honest(self, num_more: int) -> None:
        """Wait until the honest runner, which came first and has seat 0, has delivered so many more."""
        wanted = self.num_sampled[0] + num_more
        deadline = time.monotonic() + PATIENCE_S
        while self.num_sampled[0] < wanted:
            assert time.monotonic() < deadline, "the honest runner stands still"
            time.sleep(0.005)

    @property
    def num_cut_off(self) -> int:
        return self.gateway.admission.num_cut_off

    def close(self) -> None:
        self._ends.set()
        self._driver.join(PATIENCE_S)
        self.gateway.close()
        self._honest.thread.join(PATIENCE_S)

    def _drive(self) -> None:
        incarnation = 0
        while not self._ends.is_set():
            for event in self.gateway.events(0.05):
                match event:
                    case Ready(index):
                        self.gateway.ask(index, WEIGHTS)
                    case Sampled(index, _):
                        self.num_sampled[index] += 1
                        time.sleep(0.005)  # far below what counts as a flood
                        self.gateway.ask(index, WEIGHTS)
                    case Lost(index, _) | Left(index, _) | Failed(index, _):
                        incarnation += 1
                        self.lost.append(f"{index}: {event}")
                        self.gateway.start(index, incarnation=incarnation)


class Peer:
    """Sends whatever bytes it likes over a stream of gRPC."""

    def __init__(self, address: str, service: str = SAMPLE, **settings: Any) -> None:
        self._says: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        messages = iter(self._says.get, None)
        call = self._channel.stream_stream(f"/{service}")
        self.call = call(messages, timeout=PATIENCE_S, **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._says.put(None)
        self._channel.close()

    def say(self, message: bytes) -> None:
        self._says.put(message)

    def attach(self, head: Callable[[int], bytes], content: bytes) -> None:
        self.say(head(len(content)))
        for start in range(0, len(content), 2**20):
            self.say(chunk_message([content[start : start + 2**20]]))

    def hear(self, kind: type[Any]) -> Any:
        for answer in self.call:
            message = decode_sample_response(answer)
            if isinstance(message, kind):
                return message
        raise AssertionError(f"the stream ended without {kind.__name__}")

    def runner(self) -> Fragment:
        """Join, be asked for a fragment, and return what an honest runner would answer."""
        self.say(encode_sample_request(JOIN))
        assignment = self.hear(session.Assignment)
        self.say(encode_sample_request(session.Ready()))
        self.hear(session.Ask)
        runner = SETUP.plan.make_runner(assignment.runner, assignment.incarnation)
        load_newer(runner, WEIGHTS)
        return runner.sample()

    def deliver(self, content: bytes, sequence: int = 1) -> None:
        self.attach(lambda size: encode_sample_request(session.FragmentDelivery(sequence), size), content)

    def sentence(self) -> str:
        """Return why this side was sent away."""
        goodbye = None
        with suppress(grpc.RpcError):
            for answer in self.call:
                goodbye = read_stream_message(answer).goodbye or goodbye
        assert goodbye is not None, f"no goodbye came: {self.call.code()}, {self.call.details()}"
        is_slow = goodbye.sentence.startswith(("no message came within", "it did not say join within"))
        reasons = session.GoodbyeReason
        assert goodbye.reason is (reasons.LATER if is_slow else reasons.MISBEHAVED)
        assert goodbye.sentence.isprintable()
        return goodbye.sentence


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


def raw_join(**fields: Any) -> bytes:
    """Write a join that our own code would not write."""
    message = runner_service_pb2.SampleRequest.FromString(encode_sample_request(JOIN))
    for name, value in fields.items():
        getattr(message.join, name).CopyFrom(value)
    return bytes(message.SerializeToString())


def hello_with(num_capabilities: int) -> Any:
    hello = runner_service_pb2.SampleRequest.FromString(encode_sample_request(JOIN)).join.hello
    hello.capabilities.extend("x" for _ in range(num_capabilities))
    return hello


def nested(depth: int) -> space_pb2.Space:
    space = space_pb2.Space()
    inner = space
    for _ in range(depth):
        inner = inner.tuple.spaces.add()
    inner.discrete.num_values = 2
    return space


def many(num_spaces: int) -> space_pb2.Space:
    space = space_pb2.Space()
    space.tuple.spaces.extend([nested(0)] * num_spaces)
    return space


def pickled_bounds() -> space_pb2.Space:
    space = space_pb2.Space()
    space.CopyFrom(runner_service_pb2.SampleRequest.FromString(raw_join()).join.observation_space)
    space.box.low = PICKLE
    return space


def say(*messages: bytes) -> Callable[[Peer], None]:
    def act(peer: Peer) -> None:
        for message in messages:
            peer.say(message)

    return act


def fragment_with(**changes: Callable[[Fragment], Any]) -> Callable[[Peer], None]:
    def act(peer: Peer) -> None:
        honest = peer.runner()
        lie = replace(honest, **{name: change(honest) for name, change in changes.items()})
        peer.deliver(encode_fragment(lie).to_bytes())

    return act


def with_reward(value: float) -> Callable[[Peer], None]:
    return fragment_with(rewards=lambda honest: np.full_like(honest.rewards, value))


def twice(peer: Peer) -> None:
    content = encode_fragment(peer.runner()).to_bytes()
    peer.deliver(content)
    peer.deliver(content)


def with_attachment(content: bytes) -> Callable[[Peer], None]:
    def act(peer: Peer) -> None:
        peer.runner()
        peer.deliver(content)

    return act


def bomb(peer: Peer) -> None:
    """Claim 16 MiB, in some hundred bytes."""
    honest = peer.runner()
    wide = {"": np.zeros((honest.num_rows, 2**15), np.int64)}
    lie = replace(
        honest,
        observations=wide,
        next_observations={"": wide[""][: len(honest.next_rows)]},
    )
    content = encode_fragment(lie, compression="zstd").to_bytes()
    assert len(content) < 10**5
    peer.deliver(content)


def state_nobody_asked_for(peer: Peer) -> None:
    peer.runner()
    content = encode_tree({"pickled": PICKLE}).to_bytes()
    peer.attach(lambda size: encode_sample_request(session.StateDelivery(1), size), content)


def announce_and_stall(peer: Peer) -> None:
    peer.runner()
    peer.say(encode_sample_request(session.FragmentDelivery(1), 10**6))


def dribble(peer: Peer) -> None:
    announce_and_stall(peer)
    for _ in range(20):
        peer.say(chunk_message([b"x"]))


def flood(peer: Peer) -> None:
    peer.runner()
    for _ in range(2 * int(MAX_MESSAGES_PER_S * liveness.FLOOD_WINDOW_S)):  # over a window's edge, too
        peer.say(HEARTBEAT)


def not_asked_for(peer: Peer) -> None:
    peer.deliver(encode_fragment(peer.runner()).to_bytes(), sequence=7)


ATTACKS: dict[str, tuple[Callable[[Peer], None], str]] = {
    "no message": (say(b"\xff\xff\xff"), "no SampleRequest|message of a"),
    "a pickle as a message": (say(PICKLE), "message of a"),
    "a pickle as a bound": (say(raw_join(observation_space=pickled_bounds())), "bounds of"),
    "a pickle as a fragment": (with_attachment(PICKLE), "fragment 1 is bad"),
    "a pickle as a state": (state_nobody_asked_for, "state request 1, which was not made"),
    "nothing at all": (say(), r"no message came within 0\.5 s"),
    "heartbeats and no join": (say(HEARTBEAT), "did not say join"),
    "ready first": (say(encode_sample_request(session.Ready())), "a runner says join first"),
    "memory first": (say(encode_sample_request(session.FragmentDelivery(1), 2**28)), "introduce yourself"),
    "too much": (
        say(
            HEARTBEAT, encode_sample_request(JOIN), encode_sample_request(session.FragmentDelivery(1), 2**40)
        ),
        "max_message_bytes",
    ),
    "joins twice": (say(*[encode_sample_request(JOIN)] * 2), "it said join twice"),
    "many capabilities": (say(raw_join(hello=hello_with(1000))), "max_names is 256 and 1000 came"),
    "a million capabilities": (say(raw_join(hello=hello_with(10**6))), "max_header_bytes"),
    "deep spaces": (say(raw_join(action_space=nested(40))), "max_nesting|no message"),
    "many spaces": (say(raw_join(action_space=many(50_000))), "max_spaces is 4096"),
    "chunks of nothing": (say(encode_sample_request(JOIN), chunk_message([b"x"])), "where 0 were to come"),
    "NaN": (with_reward(np.nan), "rewards are NaN or infinite"),
    "infinity": (with_reward(np.inf), "rewards are NaN or infinite"),
    "another shape": (
        fragment_with(
            observations=lambda honest: {"": honest.observations[""][:, :3]},
            next_observations=lambda honest: {"": honest.next_observations[""][:, :3]},
        ),
        r"observations are float32\[3\] a row and should be float32\[4\]",
    ),
    "another dtype": (
        fragment_with(actions=lambda honest: {"": honest.actions[""].astype(np.int32)}),
        "actions are int32",
    ),
    "actions that there are not": (
        fragment_with(actions=lambda honest: {"": honest.actions[""] + 2}),
        "they count from 0 to 1",
    ),
    "weights that it was not given": (
        fragment_with(policy_version=lambda honest: honest.policy_version + 9),
        "versions 9 to 9 of the weights acted, and only 0 may",
    ),
    "somebody else's copies": (
        fragment_with(streams=lambda honest: replace(honest.streams, environment=np.zeros(3, np.int32))),
        "it has environment copies 0 to 0",
    ),
    "a fragment twice": (twice, "fragment 1 came after fragment 1 on one connection"),
    "a fragment that nobody asked for": (not_asked_for, "fragment 7 was not asked for"),
    "a bomb": (bomb, "max_decompressed_bytes|max_rows|bytes"),
    "an announcement and no more": (announce_and_stall, "came slower than 16384 bytes/s"),
    "one byte at a time": (dribble, "came slower than 16384 bytes/s"),
    "a flood": (flood, "more than 5000 messages came within 5 s"),
}


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
    deadline = time.monotonic() + PATIENCE_S
    while scene.num_cut_off == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert scene.num_cut_off == before + 1
    scene.wait_for_the_honest(2)
    assert not any(each.startswith("0:") for each in scene.lost)
    assert not Unpickled.traces


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
    assert scene.num_cut_off == before + 1
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
