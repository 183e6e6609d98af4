"""Messages of the streams to and from bytes: one pair of functions for each direction of each stream.

An encoded message may announce a large one, whose `attachment_bytes` bytes follow in chunks (see
`outrider.wire.stream`). A decoder returns None for a message that this release does not know: a newer
minor version says it, and it is to be ignored, with what is attached to it.
"""

from __future__ import annotations

from outrider.wire import act_messages, learn_messages, sample_messages, session
from outrider.wire.agents_codec import read_wanted, write_wanted
from outrider.wire.frame import Bytes
from outrider.wire.goodbye_codec import read_goodbye, write_goodbye
from outrider.wire.handshake import Hello
from outrider.wire.limits import Limits
from outrider.wire.one_of_codec import Kind, OneOfCodec, plain
from outrider.wire.v1 import act_service_pb2, learner_service_pb2, runner_service_pb2

_JOIN = Kind(session.Join, sample_messages.write_join, sample_messages.read_join)
_WELCOME = Kind(session.SessionWelcome, sample_messages.write_welcome, sample_messages.read_welcome)
_ALL_STREAMS = {
    "goodbye": Kind(session.Goodbye, write_goodbye, read_goodbye),
    "heartbeat": plain(session.Heartbeat),
}
_SAMPLE_REQUEST: OneOfCodec[session.SampleRequest] = OneOfCodec(
    "message of a runner",
    runner_service_pb2.SampleRequest,
    {
        "join": _JOIN,
        "ready": plain(session.Ready),
        "fragment": Kind(
            session.FragmentDelivery, sample_messages.write_fragment, sample_messages.read_fragment
        ),
        "state": Kind(session.StateDelivery, sample_messages.write_state, sample_messages.read_state),
        "policies_wanted": Kind(session.PoliciesWanted, write_wanted, read_wanted),
        "leaving": Kind(session.Leaving, sample_messages.write_leaving, sample_messages.read_leaving),
        **_ALL_STREAMS,
    },
)
_SAMPLE_RESPONSE: OneOfCodec[session.SampleResponse] = OneOfCodec(
    "message to a runner",
    runner_service_pb2.SampleResponse,
    {
        "welcome": _WELCOME,
        "assignment": Kind(
            session.Assignment, sample_messages.write_assignment, sample_messages.read_assignment
        ),
        "weights": plain(session.WeightsDelivery),
        "ask": Kind(session.Ask, sample_messages.write_ask, sample_messages.read_ask),
        "acknowledgement": plain(session.Acknowledgement),
        "state": plain(session.StateRequest, request=1),
        "policies": plain(session.PoliciesDelivery, request=1),
        **_ALL_STREAMS,
    },
)
_ACT_REQUEST: OneOfCodec[session.ActRequest] = OneOfCodec(
    "message of an environment",
    act_service_pb2.ActRequest,
    {
        "join": Kind(session.Join, act_messages.write_join, act_messages.read_join),
        "step": Kind(session.Step, act_messages.write_step, act_messages.read_step),
        **_ALL_STREAMS,
    },
    check_size=act_messages.check_size,
)
_ACT_RESPONSE: OneOfCodec[session.ActResponse] = OneOfCodec(
    "message to an environment",
    act_service_pb2.ActResponse,
    {
        "welcome": _WELCOME,
        "action": Kind(session.Action, act_messages.write_action, act_messages.read_action),
        **_ALL_STREAMS,
    },
    check_size=act_messages.check_size,
)
_LEARN_REQUEST: OneOfCodec[session.LearnRequest] = OneOfCodec(
    "message to learners",
    learner_service_pb2.LearnRequest,
    {
        "hello": Kind(Hello, learn_messages.write_hello, learn_messages.read_hello),
        "start": Kind(session.LearnStart, learn_messages.write_start, learn_messages.read_start),
        "fragment": plain(session.LearnFragment, sequence=1),
        "update": plain(session.LearnUpdate, sequence=1),
        "state": plain(session.LearnStateRequest),
        "policies": plain(session.LearnPolicies, request=1),
        **_ALL_STREAMS,
    },
)
_LEARN_RESPONSE: OneOfCodec[session.LearnResponse] = OneOfCodec(
    "message of learners",
    learner_service_pb2.LearnResponse,
    {
        "welcome": Kind(session.LearnWelcome, learn_messages.write_welcome, learn_messages.read_welcome),
        "ready": plain(session.LearnReady, num_learners=1),
        "weights": plain(session.LearnWeights),
        "report": plain(session.LearnReport),
        "state": plain(session.LearnState),
        "room": plain(session.LearnRoom),
        "policies": plain(session.LearnPoliciesAnswer, request=1),
        **_ALL_STREAMS,
    },
)


def encode_sample_request(message: session.SampleRequest, attachment_bytes: int = 0) -> bytes:
    """Write what a runner says. Raises ValueError for what no reader would accept."""
    return _SAMPLE_REQUEST.encode(message, attachment_bytes)


def decode_sample_request(data: Bytes, limits: Limits = Limits()) -> session.SampleRequest | None:  # noqa: B008
    """Read what a runner says; None for what is to be ignored. Raises WireError."""
    return _SAMPLE_REQUEST.decode(data, limits)


def encode_sample_response(message: session.SampleResponse, attachment_bytes: int = 0) -> bytes:
    """Write what a gateway says to a runner. Raises ValueError for what no reader would accept."""
    return _SAMPLE_RESPONSE.encode(message, attachment_bytes)


def decode_sample_response(data: Bytes, limits: Limits = Limits()) -> session.SampleResponse | None:  # noqa: B008
    """Read what a gateway says to a runner; None for what is to be ignored. Raises WireError."""
    return _SAMPLE_RESPONSE.decode(data, limits)


def encode_act_request(message: session.ActRequest, attachment_bytes: int = 0) -> bytes:
    """Write what environments say. Raises ValueError for what no reader would accept."""
    return _ACT_REQUEST.encode(message, attachment_bytes)


def decode_act_request(data: Bytes, limits: Limits = Limits()) -> session.ActRequest | None:  # noqa: B008
    """Read what environments say; None for what is to be ignored. Raises WireError.

    The arrays of a step are read-only.
    """
    return _ACT_REQUEST.decode(data, limits)


def encode_act_response(message: session.ActResponse, attachment_bytes: int = 0) -> bytes:
    """Write what a gateway says to environments. Raises ValueError for what no reader would accept."""
    return _ACT_RESPONSE.encode(message, attachment_bytes)


def decode_act_response(data: Bytes, limits: Limits = Limits()) -> session.ActResponse | None:  # noqa: B008
    """Read what a gateway says to environments; None for what is to be ignored. Raises WireError.

    The arrays of an action are read-only.
    """
    return _ACT_RESPONSE.decode(data, limits)


def encode_learn_request(message: session.LearnRequest, attachment_bytes: int = 0) -> bytes:
    """Write what an algorithm process says. Raises ValueError for what no reader would accept."""
    return _LEARN_REQUEST.encode(message, attachment_bytes)


def decode_learn_request(data: Bytes, limits: Limits = Limits()) -> session.LearnRequest | None:  # noqa: B008
    """Read what an algorithm process says; None for what is to be ignored. Raises WireError."""
    return _LEARN_REQUEST.decode(data, limits)


def encode_learn_response(message: session.LearnResponse, attachment_bytes: int = 0) -> bytes:
    """Write what learners say. Raises ValueError for what no reader would accept."""
    return _LEARN_RESPONSE.encode(message, attachment_bytes)


def decode_learn_response(data: Bytes, limits: Limits = Limits()) -> session.LearnResponse | None:  # noqa: B008
    """Read what learners say; None for what is to be ignored. Raises WireError."""
    return _LEARN_RESPONSE.decode(data, limits)
