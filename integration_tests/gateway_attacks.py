"""What liars, floods and stalls say to a gateway, and what each of them is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from attacked_gateway import JOIN, MAX_MESSAGES_PER_S, PICKLE, Peer
from outrider.transport import liveness
from outrider.wire import Fragment, encode_fragment, encode_tree, session
from outrider.wire.session_codec import (
    encode_sample_request,
)
from outrider.wire.stream import HEARTBEAT, chunk_message
from outrider.wire.v1 import runner_service_pb2, space_pb2


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
