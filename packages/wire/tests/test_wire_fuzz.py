"""Damaged and hostile bytes: a right value or a WireError, and never much memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from outrider.testing.messages import (
    example_fragment,
    example_policy_graph,
    example_spaces,
    example_weights,
    image_fragment,
    random_fragment,
    same_message,
)
from outrider.testing.multi_agent_messages import example_stacked_graph, example_stacks, example_team
from outrider.testing.stream_messages import DIRECTIONS, GOODBYE, STEP, TREE
from outrider.wire import (
    Fragment,
    Frame,
    Hello,
    PolicyGraph,
    Weights,
    WireError,
    answer_hello,
    check_fragment,
    chunk_message,
    decode_episode_statistics,
    decode_fragment,
    decode_fragment_summary,
    decode_hello,
    decode_policy_graph,
    decode_space,
    decode_tree,
    decode_weights,
    decode_welcome,
    encode_act_request,
    encode_episode_statistics,
    encode_fragment,
    encode_fragment_summary,
    encode_hello,
    encode_policy_graph,
    encode_space,
    encode_tree,
    encode_weights,
    encode_welcome,
    goodbye_message,
    read_stream_message,
    session,
    summarise,
)
from outrider.wire.act_messages import check_step
from outrider.wire.v1 import (
    act_service_pb2,
    fragment_pb2,
    learner_service_pb2,
    policy_graph_pb2,
    runner_service_pb2,
    tree_pb2,
    weights_pb2,
)
from outrider.wire.weights_stacks import check_stacks

HELLO = Hello(component="fuzz", versions={"a": "1"}, capabilities=frozenset({"zstd"}))
SPACE = example_spaces()["dict"]
Decode = Callable[[bytes], Any]
MESSAGES: dict[str, tuple[bytes, Decode]] = {
    "fragment": (encode_fragment(example_fragment()).to_bytes(), decode_fragment),
    "ragged": (encode_fragment(random_fragment(1)).to_bytes(), decode_fragment),
    "team": (encode_fragment(example_team()).to_bytes(), decode_fragment),
    "team_summary": (encode_fragment_summary(summarise(example_team())), decode_fragment_summary),
    "weights": (encode_weights(example_weights(), bfloat16=["pi/weight"]).to_bytes(), decode_weights),
    "stacks": (encode_weights(example_stacks()).to_bytes(), decode_weights),
    "stacked_graph": (encode_policy_graph(example_stacked_graph()).to_bytes(), decode_policy_graph),
    "policy_graph": (encode_policy_graph(example_policy_graph()).to_bytes(), decode_policy_graph),
    "space": (encode_space(SPACE), decode_space),
    "episodes": (encode_episode_statistics(example_fragment().episodes), decode_episode_statistics),
    "summary": (encode_fragment_summary(summarise(example_fragment())), decode_fragment_summary),
    "packed_lz4": (encode_fragment(image_fragment(), compression="lz4").to_bytes(), decode_fragment),
    "packed_zstd": (encode_fragment(image_fragment(), compression="zstd").to_bytes(), decode_fragment),
    "tree": (encode_tree(TREE).to_bytes(), decode_tree),
    "chunk": (chunk_message([bytes(range(256))]), read_stream_message),
    "goodbye": (goodbye_message(GOODBYE), read_stream_message),
    "moved_step": (encode_act_request(STEP, attachment_bytes=5), read_stream_message),
    **{
        f"{name}_{kind}": (direction.encode(message), direction.decode)
        for name, direction in DIRECTIONS.items()
        for kind, message in direction.messages.items()
        if len(direction.encode(message)) > 30
    },
    "hello": (encode_hello(HELLO), decode_hello),
    "welcome": (encode_welcome(answer_hello(HELLO, HELLO)), decode_welcome),
}
HEADERS: dict[str, tuple[Frame, type[Message], Decode]] = {
    "packed_lz4": (
        encode_fragment(image_fragment(), compression="lz4"),
        fragment_pb2.FragmentHeader,
        decode_fragment,
    ),
    "packed_zstd": (
        encode_fragment(image_fragment(), compression="zstd"),
        fragment_pb2.FragmentHeader,
        decode_fragment,
    ),
    "tree": (encode_tree(TREE), tree_pb2.TreeHeader, decode_tree),
    "fragment": (encode_fragment(example_fragment()), fragment_pb2.FragmentHeader, decode_fragment),
    "team": (encode_fragment(example_team()), fragment_pb2.FragmentHeader, decode_fragment),
    "weights": (encode_weights(example_weights()), weights_pb2.WeightsHeader, decode_weights),
    "stacks": (
        encode_weights(example_stacks(), checksum=False),
        weights_pb2.WeightsHeader,
        decode_weights,
    ),
    "policy_graph": (
        encode_policy_graph(example_policy_graph()),
        policy_graph_pb2.PolicyGraphHeader,
        decode_policy_graph,
    ),
}
STREAM_MESSAGES: dict[str, tuple[Message, Decode]] = {
    f"{name}_{kind}": (message_type.FromString(DIRECTIONS[name].encode(message)), DIRECTIONS[name].decode)
    for name, message_type in {
        "sample_request": runner_service_pb2.SampleRequest,
        "sample_response": runner_service_pb2.SampleResponse,
        "act_request": act_service_pb2.ActRequest,
        "act_response": act_service_pb2.ActResponse,
        "learn_request": learner_service_pb2.LearnRequest,
        "learn_response": learner_service_pb2.LearnResponse,
    }.items()
    for kind, message in DIRECTIONS[name].messages.items()
    if kind not in {"heartbeat", "ready"}  # which have no field to lie in
}
MEMORY_BYTES = 2**20
SMALL_NUMBERS = [0, 1, 2, 3, 7, 13, 63, 64, 65, 127, 128]
LARGE_NUMBERS = [2**16, 2**31, 2**32 - 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def _survives(decode: Decode, message: bytes) -> bool:
    """Return whether a message was accepted; anything but a right value or a WireError is raised."""
    try:
        value = decode(message)
    except WireError:
        return False
    if isinstance(value, Fragment):
        check_fragment(value)
        assert sum(value.streams.lengths) == len(value.rewards)
    elif isinstance(value, Weights):
        assert not any(tensor.flags.writeable for tensor in value.tensors.values())
        if value.stacks:
            check_stacks(value)
    elif isinstance(value, PolicyGraph):
        assert value.action_heads
    elif isinstance(value, session.Step):
        check_step(value)
    return True


def _damaged(message: bytes, rng: random.Random) -> bytes:
    """Return the message after one to four of the accidents that happen to bytes."""
    damaged = bytearray(message)
    for _ in range(rng.randint(1, 4)):
        place, size = rng.randrange(len(damaged) + 1), rng.randint(1, 9)
        match rng.randrange(5):
            case 0 if place < len(damaged):
                damaged[place] ^= 1 << rng.randrange(8)
            case 1:
                del damaged[place:]
            case 2:
                del damaged[place : place + size]
            case 3:
                damaged[place:place] = rng.randbytes(size)
            case _:
                damaged[place : place + size] = b"\xff" * size
    return bytes(damaged)


@pytest.mark.parametrize("name", MESSAGES)
def test_damaged_bytes_give_a_right_value_or_a_wire_error(name: str) -> None:
    message, decode = MESSAGES[name]
    rng = random.Random(name)
    accepted = sum(_survives(decode, _damaged(message, rng)) for _ in range(1500))
    assert 0 < accepted < 1500


@pytest.mark.parametrize("name", MESSAGES)
def test_every_truncation_and_every_flipped_bit_is_survived(name: str) -> None:
    message, decode = MESSAGES[name]
    for size in range(len(message)):
        _survives(decode, message[:size])
    for place in range(min(len(message), 400)):
        flipped = bytearray(message)
        flipped[place] ^= 1 << place % 8
        _survives(decode, bytes(flipped))


def _fields(message: Message) -> Iterator[tuple[Message, FieldDescriptor, int | None]]:
    """Yield every number, string or byte field that is set, in this message and below."""
    for field, value in message.ListFields():
        values = [(None, value)] if not _is_repeated(field) else list(enumerate(value))
        for index, element in values:
            if field.message_type is None:
                yield message, field, index
            else:
                yield from _fields(element)


def _is_repeated(field: FieldDescriptor) -> bool:
    # `label` is gone from the newest protobuf and `is_repeated` is missing in the oldest.
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == 3


def _lie(header: Message, rng: random.Random) -> None:
    """Change one field of a header to something else that its type can hold."""
    present = list(_fields(header))
    if not present:  # the lies before left nothing
        return
    message, field, index = rng.choice(present)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        value: Any = rng.choice(["", "/camera", "pi/bias", "/0"])
        value = value if field.type == FieldDescriptor.TYPE_STRING else value.encode()
    elif field.cpp_type in {FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE}:
        value = rng.choice([0.0, -1.0, float("nan"), float("inf")])
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        value = rng.random() < 0.5
    else:
        bits = {FieldDescriptor.CPPTYPE_UINT64: 64, FieldDescriptor.CPPTYPE_INT64: 63}.get(field.cpp_type, 31)
        value = rng.choice(SMALL_NUMBERS + LARGE_NUMBERS) % 2**bits
    if index is None:
        setattr(message, field.name, value)
    else:
        getattr(message, field.name)[index] = value


@pytest.mark.parametrize("name", HEADERS)
def test_lying_headers_give_a_right_value_or_a_wire_error(name: str) -> None:
    frame, header_type, decode = HEADERS[name]
    rng = random.Random(name)
    for _ in range(1000):
        header = header_type.FromString(frame.header)
        for _ in range(rng.randint(1, 3)):
            _lie(header, rng)
        _survives(decode, Frame(header.SerializeToString(), frame.buffers).to_bytes())


@pytest.mark.parametrize("name", STREAM_MESSAGES)
def test_lies_on_streams_give_a_right_value_or_a_wire_error(name: str) -> None:
    message, decode = STREAM_MESSAGES[name]
    rng = random.Random(name)
    for _ in range(200):
        lie = type(message).FromString(message.SerializeToString())
        for _ in range(rng.randint(1, 3)):
            _lie(lie, rng)
        _survives(decode, lie.SerializeToString())


@pytest.mark.parametrize("fragment", [example_fragment(), example_team()])
def test_lies_about_size_reserve_no_memory(fragment: Fragment) -> None:
    frame = encode_fragment(fragment)
    tracemalloc.start()
    try:
        for number in LARGE_NUMBERS:
            header = fragment_pb2.FragmentHeader.FromString(frame.header)
            for message, field, index in list(_fields(header)):
                if field.name == "shape":
                    getattr(message, field.name)[index] = number
            with pytest.raises(WireError):
                decode_fragment(Frame(header.SerializeToString(), frame.buffers).to_bytes())
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < MEMORY_BYTES


def test_damaged_bytes_reserve_no_memory() -> None:
    tracemalloc.start()
    try:
        for name, (message, decode) in MESSAGES.items():
            rng = random.Random(name)
            for _ in range(100):
                _survives(decode, _damaged(message, rng))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < MEMORY_BYTES


def test_the_fuzzed_messages_are_right_before_they_are_damaged() -> None:
    for message, decode in MESSAGES.values():
        assert _survives(decode, message)
    assert same_message(decode_fragment(MESSAGES["ragged"][0]), random_fragment(1))
