"""Messages of the streams cross unchanged, and what breaks a rule is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from outrider.testing.messages import same_message
from outrider.testing.stream_messages import (
    ASSIGNMENT,
    DIRECTIONS,
    FIRST_STEP,
    GOODBYE,
    JOIN,
    STEP,
    TERMS,
    Direction,
)
from outrider.wire import (
    Hello,
    Limits,
    ProtocolVersion,
    WireError,
    decode_act_request,
    decode_sample_request,
    decode_sample_response,
    encode_act_request,
    encode_learn_response,
    encode_sample_request,
    encode_sample_response,
    session,
)
from outrider.wire.v1 import act_service_pb2, learner_service_pb2, runner_service_pb2

EVERYTHING = [
    pytest.param(direction, message, id=f"{name}-{kind}")
    for name, direction in DIRECTIONS.items()
    for kind, message in direction.messages.items()
]
every_direction = pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)


@pytest.mark.parametrize(("direction", "message"), EVERYTHING)
def test_messages_come_back_as_they_were(direction: Direction, message: Any) -> None:
    assert same_message(direction.decode(direction.encode(message)), message)
    assert same_message(direction.decode(memoryview(direction.encode(message, attachment_bytes=5))), message)


@every_direction
def test_what_a_newer_minor_says_is_ignored(direction: Direction) -> None:
    unknown_message, unknown_field = b"\x5a\x03\x0a\x01x", b"\xa2\x06\x02hi"
    assert direction.decode(unknown_message) is None
    assert direction.decode(b"") is None
    assert direction.decode(direction.encode(GOODBYE) + unknown_field) == GOODBYE


@every_direction
def test_what_is_no_message_of_the_stream_is_refused(direction: Direction) -> None:
    with pytest.raises(ValueError, match="is no message"):
        direction.encode(TERMS)
    with pytest.raises(WireError, match="these bytes are no message"):
        direction.decode(b"\x0a\xff")


def test_the_examples_are_of_every_kind() -> None:
    known = {type(message) for direction in DIRECTIONS.values() for message in direction.messages.values()}
    said = {
        value
        for value in vars(session).values()
        if isinstance(value, type) and value.__module__ == session.__name__
    }
    assert known - {Hello} == said - {session.Terms, session.GoodbyeReason}


def test_of_another_major_version_only_the_hello_is_read() -> None:
    message = runner_service_pb2.SampleRequest()
    message.join.hello.protocol.major = 2
    message.join.hello.component = "envrunner 9.0.0"
    for decode in (decode_sample_request, decode_act_request):
        join = decode(message.SerializeToString())
        assert isinstance(join, session.Join)
        assert join.hello == Hello(component="envrunner 9.0.0", protocol=ProtocolVersion(2, 0))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rewards": [1.0, float("nan"), 0.0]}, "environment 1 earned nan"),
        ({"rewards": [1.0, 0.0, float("-inf")]}, "environment 2 earned -inf"),
        ({"rewards": [1.0]}, "1 rewards and 3 of terminated"),
        ({"truncated": [False]}, "3 rewards and 1 of truncated"),
        ({"ended": [2, 0]}, r"ended is \[2, 0\] where \[0, 2\]"),
        ({"ended": [0]}, r"ended is \[0\] where \[0, 2\]"),
        ({"ended": [0, 2, 4000000000]}, "ended is"),
        ({"final_observations": []}, r"final_observations has \[\]"),
        ({"sequence": 0}, "sequence is 0; it is 1 to"),
    ],
)
def test_a_step_that_breaks_a_rule_is_refused(changes: dict[str, Any], sentence: str) -> None:
    message = act_service_pb2.ActRequest.FromString(encode_act_request(STEP))
    for name, value in changes.items():
        message.step.ClearField(name)
        if isinstance(value, list):
            getattr(message.step, name).extend(value)
        else:
            setattr(message.step, name, value)
    with pytest.raises(WireError, match=sentence):
        decode_act_request(message.SerializeToString())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dtype": 0}, "dtype number 0"),
        ({"dtype": 13}, "dtype number 13"),
        ({"shape": [2, 3]}, "its first axis is the 3 copies"),
        ({"shape": [6]}, "its first axis is the 3 copies"),
        ({"shape": [], "data": bytes(4)}, r"has shape \(\)"),
        ({"shape": [2**40, 2**40]}, "max_message_bytes"),
        ({"shape": [1] * 17}, "max_dimensions"),
        ({"data": bytes(23)}, "has 23 bytes"),
        ({"dtype": 1, "data": b"\x00\x01\x02\x00\x01\x00"}, "neither 0 nor 1"),
    ],
)
def test_an_array_that_lies_is_refused(changes: dict[str, Any], sentence: str) -> None:
    message = act_service_pb2.ActRequest.FromString(encode_act_request(STEP))
    array = message.step.observations[0]
    for name, value in changes.items():
        array.ClearField(name)
        if name == "shape":
            array.shape.extend(value)
        else:
            setattr(array, name, value)
    with pytest.raises(WireError, match=sentence):
        decode_act_request(message.SerializeToString())


def test_a_stock_protobuf_library_reads_what_is_said() -> None:
    join = runner_service_pb2.SampleRequest.FromString(encode_sample_request(JOIN)).join
    assert (join.hello.component, join.name, join.session) == ("envrunner 0.1.0", "farm-7 runner 3", "s3cret")
    assert (join.last_ask, join.next_weights_version) == (7, 1)
    ask = runner_service_pb2.SampleResponse.FromString(encode_sample_response(session.Ask(3, 0))).ask
    assert (ask.sequence, ask.weights_version, ask.HasField("weights_version")) == (3, 0, True)
    step = act_service_pb2.ActRequest.FromString(encode_act_request(STEP)).step
    assert (list(step.rewards), list(step.ended)) == ([1.0, -2.0, 0.5], [0, 2])
    assert np.frombuffer(step.final_observations[0].data, "<f4").tolist() == [7.0, 8.0, 9.0, 10.0]
    report = encode_learn_response(session.LearnReport(2, 5), attachment_bytes=99)
    parsed = learner_service_pb2.LearnResponse.FromString(report)
    assert (parsed.report.version, parsed.attachment_bytes) == (5, 99)


def test_what_a_stock_protobuf_library_writes_is_read() -> None:
    response = runner_service_pb2.SampleResponse(ask={"sequence": 3})
    assert decode_sample_response(response.SerializeToString()) == session.Ask(3)
    request = act_service_pb2.ActRequest(
        step={"sequence": 1, "observations": [{"dtype": 6, "shape": [2], "data": b"\x05\x06"}]}
    )
    step = decode_act_request(request.SerializeToString())
    assert isinstance(step, session.Step)
    assert step.observations[""].tolist() == [5, 6]


def _large_step(observations: np.ndarray[Any, Any]) -> bytes:
    first = session.Step(
        sequence=1,
        observations={"": observations},
        rewards=FIRST_STEP.rewards,
        terminated=FIRST_STEP.terminated,
        truncated=FIRST_STEP.truncated,
        ended=FIRST_STEP.ended,
        final_observations={},
    )
    return encode_act_request(first)


def test_observations_may_be_larger_than_a_header_and_nothing_else_may() -> None:
    step = decode_act_request(_large_step(np.ones((16, 210, 160, 3), np.uint8)))
    assert isinstance(step, session.Step)
    assert step.observations[""].shape == (16, 210, 160, 3)
    with pytest.raises(WireError, match="max_stream_message_bytes is 4194304 and 4800"):
        decode_act_request(_large_step(np.ones((16, 300, 1000), np.uint8)))
    many = act_service_pb2.ActRequest(step={"sequence": 1, "rewards": [0.0] * 300_000})
    with pytest.raises(WireError, match="max_header_bytes is 1048576 and 1200"):
        decode_act_request(many.SerializeToString())
    empty_arrays = act_service_pb2.ActRequest(step={"observations": [{}] * 600_000})
    with pytest.raises(WireError, match="more than 4096 fields in one message"):
        decode_act_request(empty_arrays.SerializeToString())


def test_environment_copies_and_rows_are_limited() -> None:
    limits = Limits(max_environments=2, max_rows=100, max_text_characters=20)
    with pytest.raises(WireError, match="max_environments is 2 and 3 came"):
        decode_act_request(encode_act_request(FIRST_STEP), limits)
    with pytest.raises(WireError, match="max_environments is 2 and 8 came"):
        decode_sample_response(encode_sample_response(ASSIGNMENT), limits)
    with pytest.raises(WireError, match="max_rows is 100 and 1024 came"):
        decode_sample_response(encode_sample_response(ASSIGNMENT), Limits(max_rows=100))
    with pytest.raises(WireError, match="max_text_characters is 20 and 22 came"):
        decode_sample_request(encode_sample_request(GOODBYE), limits)
