"""Messages of all streams, as code sees them that moves messages and does not read them."""

from __future__ import annotations

import pytest

from outrider.wire import (
    HEARTBEAT,
    MAX_CHUNK_BYTES,
    Limits,
    StreamMessage,
    WireError,
    chunk_message,
    encode_sample_request,
    encode_sample_response,
    goodbye_message,
    read_stream_message,
    session,
)
from outrider.wire.v1 import act_service_pb2, learner_service_pb2, runner_service_pb2

GOODBYE = session.Goodbye(reason=session.GoodbyeReason.LATER, sentence="No room.")
EVERY_STREAM = [
    runner_service_pb2.SampleRequest,
    runner_service_pb2.SampleResponse,
    act_service_pb2.ActRequest,
    act_service_pb2.ActResponse,
    learner_service_pb2.LearnRequest,
    learner_service_pb2.LearnResponse,
]
every_stream = pytest.mark.parametrize("message_type", EVERY_STREAM)


@every_stream
def test_any_protobuf_library_reads_a_chunk_a_heartbeat_and_a_goodbye(message_type: type) -> None:
    chunk = message_type.FromString(chunk_message([b"ab", memoryview(b"c"), bytearray(b"d")]))
    assert (chunk.WhichOneof("message"), chunk.chunk.data) == ("chunk", b"abcd")
    assert message_type.FromString(HEARTBEAT).WhichOneof("message") == "heartbeat"
    goodbye = message_type.FromString(goodbye_message(GOODBYE)).goodbye
    assert (goodbye.reason, goodbye.sentence) == (2, "No room.")


@every_stream
def test_what_any_protobuf_library_writes_is_read(message_type: type) -> None:
    chunk = read_stream_message(message_type(chunk={"data": b"abcd"}).SerializeToString())
    assert chunk.chunk == b"abcd"
    assert read_stream_message(message_type(heartbeat={}).SerializeToString()).is_heartbeat
    written = message_type(goodbye={"reason": 2, "sentence": "No room."}).SerializeToString()
    assert read_stream_message(written) == StreamMessage(goodbye=GOODBYE)


def test_a_chunk_is_a_read_only_view_of_what_arrived() -> None:
    data = bytearray(chunk_message([b"abcd"]))
    chunk = read_stream_message(data).chunk
    assert chunk is not None
    data[-1:] = b"x"
    assert chunk.tobytes() == b"abcx"
    assert chunk.readonly


def test_other_messages_say_only_what_is_attached() -> None:
    fragment = encode_sample_request(session.FragmentDelivery(3), attachment_bytes=2_500_000)
    assert read_stream_message(fragment) == StreamMessage(attachment_bytes=2_500_000)
    assert read_stream_message(encode_sample_response(session.Ask(1))) == StreamMessage()


def test_messages_and_fields_of_a_newer_minor_are_nothing_to_those_who_move_them() -> None:
    unknown = b"\xa2\x06\x02hi" + b"\xa8\x06\x07" + b"\xb1\x06" + bytes(8) + b"\xb5\x06" + bytes(4)
    assert read_stream_message(unknown) == StreamMessage()
    assert read_stream_message(HEARTBEAT + unknown).is_heartbeat
    assert read_stream_message(unknown + chunk_message([b"a"])).chunk == b"a"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\x7a\x02\x0a\x00", "a chunk of 0 bytes"),
        (b"\x7a\x00", "a chunk of 0 bytes"),
        (b"\x7a\x7f\x0a\x01a", "claims 127 bytes and 3 are left"),
        (HEARTBEAT + chunk_message([b"a"]), "stands alone"),
        (HEARTBEAT + HEARTBEAT, "stands alone"),
        (b"\x12\x00" + HEARTBEAT, "stands alone"),
        (HEARTBEAT + b"\x70\x05", "stands alone"),
        (b"\x68\x01", "stands alone"),
        (b"\x72\x01a", "no number"),
        (b"\x73", "which proto3 does not have"),
        (b"\x02\x00", "field 0"),
        (b"\x70" + b"\xff" * 10, "more than 10 bytes"),
        (b"\x70\x80", "ends within"),
        (b"\xa0\x06\x01" * 65, "more than 64 fields"),
        (b"\x70" + b"\xff" * 9 + b"\x01", "max_message_bytes is 268435456"),
        (b"\x62\x03\x12\x01\xff", "message of a stream"),
    ],
)
def test_what_breaks_the_rules_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(WireError, match=sentence):
        read_stream_message(data)


def test_a_chunk_has_at_most_one_mebibyte() -> None:
    full = chunk_message([bytes(MAX_CHUNK_BYTES)])
    chunk = read_stream_message(full).chunk
    assert chunk is not None
    assert len(chunk) == MAX_CHUNK_BYTES
    larger = runner_service_pb2.SampleRequest(chunk={"data": bytes(MAX_CHUNK_BYTES + 1)})
    with pytest.raises(WireError, match="a chunk of 1048577 bytes"):
        read_stream_message(larger.SerializeToString())
    for pieces in ([], [bytes(MAX_CHUNK_BYTES), b"a"]):
        with pytest.raises(ValueError, match="it has 1 to 1048576"):
            chunk_message(pieces)


def test_a_message_that_is_too_large_is_not_read() -> None:
    with pytest.raises(WireError, match="max_stream_message_bytes is 2000000"):
        read_stream_message(bytes(2_000_001), Limits(max_stream_message_bytes=2_000_000))


def test_a_sentence_for_people_is_cut_and_comes_in_one_line() -> None:
    long = session.Goodbye(reason=session.GoodbyeReason.FAILED, sentence="a\nb\x1b[31m \ud800" + "x" * 5000)
    read = read_stream_message(goodbye_message(long)).goodbye
    assert read is not None
    assert read.sentence.startswith("a b [31m ?xxx")
    assert (len(read.sentence), read.sentence[-5:]) == (2000, "x ...")


def test_a_reason_that_is_not_known_counts_as_done() -> None:
    for number in (0, 77):
        data = runner_service_pb2.SampleRequest(goodbye={"reason": number}).SerializeToString()
        assert read_stream_message(data).goodbye == session.Goodbye(reason=session.GoodbyeReason.DONE)
