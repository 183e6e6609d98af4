from __future__ import annotations

import pytest

from outrider.transport.buffer_pool import BufferPool
from outrider.transport.inbox import Inbox
from outrider.wire import Limits, WireError, session
from outrider.wire.session_codec import encode_sample_request
from outrider.wire.stream import HEARTBEAT, chunk_message, goodbye_message

READY = encode_sample_request(session.Ready())


def announce(size_bytes: int) -> bytes:
    return encode_sample_request(session.FragmentDelivery(1), attachment_bytes=size_bytes)


def make_inbox(pool: BufferPool | None = None) -> Inbox:
    return Inbox(Limits(max_message_bytes=1000), pool or BufferPool())


def test_a_large_message_is_complete_with_its_last_chunk() -> None:
    inbox = make_inbox()
    assert inbox.take(announce(5)) is None
    assert inbox.take(chunk_message([b"abc"])) is None
    assert inbox.num_bytes_missing == 2
    arrival = inbox.take(chunk_message([b"de"]))
    assert arrival is not None
    assert arrival.attachment is not None
    assert (arrival.head, bytes(arrival.attachment)) == (announce(5), b"abcde")
    assert inbox.num_bytes_missing == 0


def test_small_messages_pass_between_chunks_and_heartbeats_are_not_seen() -> None:
    inbox = make_inbox()
    inbox.take(announce(5))
    arrival = inbox.take(READY)
    assert arrival is not None
    assert (arrival.head, arrival.attachment) == (READY, None)
    assert inbox.take(HEARTBEAT) is None


def test_a_goodbye_is_seen_and_handed_on() -> None:
    goodbye = session.Goodbye(reason=session.GoodbyeReason.DONE)
    arrival = make_inbox().take(goodbye_message(goodbye))
    assert arrival is not None
    assert arrival.goodbye == goodbye


def test_no_memory_is_taken_for_a_stranger_before_it_has_said_who_it_is() -> None:
    pool = BufferPool()
    inbox = Inbox(Limits(), pool, is_of_stranger=True)
    with pytest.raises(WireError, match="introduce yourself first"):
        inbox.take(announce(5))
    assert pool.used_bytes == 0
    inbox.take(READY)
    assert inbox.take(announce(5)) is None


def test_no_memory_is_taken_for_more_than_is_allowed() -> None:
    pool = BufferPool()
    with pytest.raises(WireError, match="max_message_bytes is 1000 and 1001 came"):
        make_inbox(pool).take(announce(1001))
    assert pool.used_bytes == 0


@pytest.mark.parametrize(
    ("before", "message", "expected"),
    [
        ([], chunk_message([b"a"]), "a chunk of 1 bytes where 0 were to come"),
        ([announce(2)], chunk_message([b"abc"]), "a chunk of 3 bytes where 2 were to come"),
        ([announce(2)], announce(2), "2 bytes of the one before are missing"),
        ([], b"\xff", "message of a stream"),
    ],
)
def test_what_breaks_a_rule_is_refused(before: list[bytes], message: bytes, expected: str) -> None:
    inbox = make_inbox()
    for each in before:
        inbox.take(each)
    with pytest.raises(WireError, match=expected):
        inbox.take(message)
