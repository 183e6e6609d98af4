from __future__ import annotations

import pytest

from outrider.transport.outbox import Outbox
from outrider.wire import session
from outrider.wire.session_codec import encode_sample_request
from outrider.wire.stream import read_stream_message

SMALL = [encode_sample_request(session.Leaving(str(number))) for number in range(4)]


def announce(size_bytes: int) -> bytes:
    return encode_sample_request(session.FragmentDelivery(1), attachment_bytes=size_bytes)


def chunk(message: bytes | None) -> bytes | None:
    found = None if message is None else read_stream_message(message).chunk
    return None if found is None else bytes(found)


def test_messages_come_out_in_order_and_then_none() -> None:
    outbox = Outbox()
    outbox.put(SMALL[0])
    outbox.put(SMALL[1])
    assert [outbox.take() for _ in range(3)] == [SMALL[0], SMALL[1], None]


def test_a_large_message_is_cut_into_chunks_across_its_pieces() -> None:
    outbox = Outbox(lambda _: 4)
    outbox.put(announce(9), [b"abc", memoryview(b"defgh"), b"", b"i"])
    assert outbox.take() == announce(9)
    assert [chunk(outbox.take()) for _ in range(4)] == [b"abcd", b"efgh", b"i", None]


def test_a_small_message_overtakes_the_chunks_of_a_large_one() -> None:
    outbox = Outbox(lambda _: 2)
    outbox.put(announce(4), [b"abcd"])
    taken = [outbox.take(), outbox.take()]
    outbox.put(SMALL[0])
    taken += [outbox.take(), outbox.take()]
    assert taken[2] == SMALL[0]
    assert [chunk(taken[1]), chunk(taken[3])] == [b"ab", b"cd"]


def test_one_large_message_travels_at_a_time() -> None:
    outbox = Outbox(lambda _: 2)
    outbox.put(announce(3), [b"abc"])
    outbox.put(announce(2), [b"de"])
    taken = [outbox.take() for _ in range(5)]
    assert taken[0] == announce(3)
    assert taken[3] == announce(2)
    assert [chunk(taken[index]) for index in (1, 2, 4)] == [b"ab", b"c", b"de"]


def test_it_counts_bytes_of_large_messages_from_their_put_until_their_last_chunk_is_sent() -> None:
    outbox = Outbox(lambda _: 2)
    outbox.put(SMALL[0])
    assert outbox.num_large_bytes == 0
    outbox.put(announce(3), [b"ab", b"c"])
    outbox.put(announce(1), [b"d"])
    found = []
    while outbox.take() is not None:
        found.append(outbox.num_large_bytes)
    assert found == [4, 4, 4, 4, 1, 1]
    assert outbox.num_large_bytes == 0


def test_what_was_thrown_away_does_not_count() -> None:
    outbox = Outbox(lambda _: 2)
    outbox.put(announce(3), [b"abc"])
    outbox.put(announce(3), [b"abc"])
    outbox.take()
    outbox.close(at_once=True)
    outbox.take()
    assert outbox.num_large_bytes == 0


def test_it_is_too_full_with_more_than_eight_of_the_largest_that_ever_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("outrider.transport.outbox.MIN_WAITING_BYTES", 10)
    outbox = Outbox()
    for _ in range(10):
        outbox.put(announce(1), [b"a"])
    assert not outbox.is_too_full  # so much may wait in any case
    outbox.put(announce(3), [b"abc"])
    assert not outbox.is_too_full
    for _ in range(11):
        outbox.put(announce(1), [b"a"])
    assert not outbox.is_too_full  # 24 = 8 * 3
    outbox.put(announce(1), [b"a"])
    assert outbox.is_too_full


def test_only_the_first_put_wakes_a_taker_that_waits() -> None:
    outbox = Outbox()
    assert not outbox.put(SMALL[0])
    outbox.take()
    assert outbox.take() is None
    assert [outbox.put(SMALL[0]), outbox.put(SMALL[1])] == [True, False]


def test_after_a_close_the_queue_is_taken_then_the_last_message_and_nothing_more() -> None:
    outbox = Outbox()
    outbox.put(announce(1), [b"a"])
    outbox.close(SMALL[3])
    outbox.put(SMALL[0])
    taken = []
    while not outbox.is_done:
        taken.append(outbox.take())
    assert taken[0] == announce(1)
    assert chunk(taken[1]) == b"a"
    assert taken[2:] in ([SMALL[3]], [SMALL[3], None])


def test_a_close_at_once_throws_the_queue_away() -> None:
    outbox = Outbox(lambda _: 1)
    outbox.put(announce(3), [b"abc"])
    outbox.take()
    outbox.put(SMALL[0])
    outbox.close(SMALL[3], at_once=True)
    assert outbox.take() == SMALL[3]
    assert outbox.is_done


def test_a_head_that_announces_another_size_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="attachment_bytes=5 and 3 are attached"):
        Outbox().put(announce(5), [b"abc"])
    with pytest.raises(ValueError, match="attachment_bytes=0 and 3 are attached"):
        Outbox().put(SMALL[0], [b"abc"])
