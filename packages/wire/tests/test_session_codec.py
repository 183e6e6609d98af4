"""Messages of the streams cross unchanged, and what breaks a rule is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.testing.messages import same_message
from outrider.testing.stream_messages import (
    ASSIGNMENT,
    DIRECTIONS,
    FIRST_STEP,
    GOODBYE,
    JOIN,
    STEP,
    TERMS,
    WELCOME,
    Direction,
)
from outrider.wire import (
    Hello,
    Limits,
    ProtocolVersion,
    WireError,
    answer_hello,
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


MESSAGE_TYPES: dict[str, Any] = {
    "sample_request": runner_service_pb2.SampleRequest,
    "sample_response": runner_service_pb2.SampleResponse,
    "act_request": act_service_pb2.ActRequest,
    "act_response": act_service_pb2.ActResponse,
    "learn_request": learner_service_pb2.LearnRequest,
    "learn_response": learner_service_pb2.LearnResponse,
}


@pytest.mark.parametrize("name", DIRECTIONS)
def test_what_a_stock_protobuf_library_read_and_wrote_again_is_the_same(name: str) -> None:
    direction = DIRECTIONS[name]
    for message in direction.messages.values():
        stock = MESSAGE_TYPES[name].FromString(direction.encode(message, attachment_bytes=7))
        assert stock.attachment_bytes == 7
        assert same_message(direction.decode(stock.SerializeToString()), message)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_fields_of_a_newer_minor_within_a_message_are_ignored(name: str) -> None:
    direction = DIRECTIONS[name]
    for message in direction.messages.values():
        stock = MESSAGE_TYPES[name].FromString(direction.encode(message))
        getattr(stock, stock.WhichOneof("message")).MergeFromString(b"\xa2\x06\x02hi")
        assert b"hi" in stock.SerializeToString()
        assert same_message(direction.decode(stock.SerializeToString()), message)


@st.composite
def steps(draw: st.DrawFn) -> session.Step:
    """Draw a step of any kind of observations."""
    num_copies = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    flags = st.lists(st.booleans(), min_size=num_copies, max_size=num_copies)
    terminated, truncated = np.array(draw(flags)), np.array(draw(flags))
    ended = np.flatnonzero(terminated | truncated)
    dtypes = st.sampled_from(["?", "i1", "<i8", "u1", "<u2", "<f2", "<f4", "<f8"])
    shapes = st.lists(st.integers(0, 3), max_size=3)
    leaves = draw(st.dictionaries(st.sampled_from(["", "/a", "/b~1c"]), st.tuples(dtypes, shapes)))
    observations = {
        path: rng.integers(0, 2, (num_copies, *shape)).astype(dtype)
        for path, (dtype, shape) in leaves.items()
    }
    return session.Step(
        sequence=draw(st.integers(1, 2**63 - 1)),
        observations=observations,
        rewards=rng.standard_normal(num_copies).astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        ended=ended,
        final_observations={path: array[ended] for path, array in observations.items()},
    )


@given(steps())
def test_any_step_comes_back_as_it_was(step: session.Step) -> None:
    assert same_message(decode_act_request(encode_act_request(step)), step)


numbers = st.integers(0, 2**63 - 1)


@given(
    st.builds(
        session.Assignment,
        runner=st.integers(0, 2**32 - 1),
        incarnation=st.integers(0, 2**32 - 1),
        num_environments=st.integers(1, 2**12),
        num_steps=st.integers(1, 2**12),
        seed=st.integers(0, 2**64 - 1),
        explore=st.booleans(),
        record_action_parameters=st.booleans(),
        settings=st.dictionaries(st.text("ab/", max_size=3), st.integers() | st.none() | st.text("ü")),
    )
    | st.builds(session.Ask, st.integers(1, 2**63 - 1), st.none() | numbers)
    | st.builds(session.Acknowledgement, numbers)
)
def test_anything_said_to_a_runner_comes_back_as_it_was(message: session.SampleResponse) -> None:
    assert same_message(decode_sample_response(encode_sample_response(message)), message)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (session.Ask(0), "sequence is 0; it is 1 to"),
        (session.Ask(2**63), "sequence is 9223372036854775808"),
        (session.Ask(1, -1), "weights_version is -1; it is 0 to"),
        (session.StateRequest(0), "request is 0"),
        (session.SessionWelcome(welcome=answer_hello(JOIN.hello, JOIN.hello)), "a welcome without terms"),
        (replace(ASSIGNMENT, num_steps=0), "num_steps is 0; it is at least 1"),
        (replace(ASSIGNMENT, settings={"a": {1, 2}}), "/a: {1, 2} has no plain form"),
        (replace(WELCOME, terms=replace(TERMS, silence_timeout_s=3.0)), "the silence is longer"),
        (replace(WELCOME, terms=replace(TERMS, heartbeat_interval_s=0.0001)), "at least 1 ms"),
        (replace(WELCOME, terms=replace(TERMS, session_timeout_s=1e9)), "1000000000.0 s in the terms"),
    ],
)
def test_what_no_reader_accepts_is_not_written(message: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        encode_sample_response(message)


def test_a_stream_that_acts_for_no_environment_is_refused() -> None:
    join = replace(JOIN, num_environments=0)
    with pytest.raises(ValueError, match="num_environments is 0; it is 1 to"):
        encode_act_request(join)
    with pytest.raises(WireError, match="num_environments is 0; it is 1 to"):
        decode_act_request(encode_sample_request(join))


def test_the_examples_are_of_every_kind() -> None:
    known = {type(message) for direction in DIRECTIONS.values() for message in direction.messages.values()}
    said = {
        value
        for value in vars(session).values()
        if isinstance(value, type) and value.__module__ == session.__name__
    }
    assert known - {Hello} == said - {session.Team, session.Terms, session.GoodbyeReason}


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


def test_a_session_is_never_logged_by_accident() -> None:
    assert JOIN.session == WELCOME.session == "s3cret"
    assert "s3cret" not in f"{JOIN} {WELCOME}"
