from __future__ import annotations

import threading

import pytest

from outrider.testing.connections import ConnectionPair
from outrider.transport.connection import Connection
from outrider.wire import WireError
from outrider.wire.session import Goodbye, GoodbyeReason
from outrider.wire.stream import goodbye_message, read_stream_message

SMALL = b"\x0a\x01x"  # field 1 with one byte, and nothing attached
LARGE = b"\x0a\x01y\x70\x06"  # 6 bytes attached


class Notes:
    """A receiver that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.refuses = False

    def opened(self, connection: Connection) -> None:
        self.told.append(("opened",))

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        if self.refuses:
            raise WireError("no such message")
        self.told.append((head, None if attachment is None else bytes(attachment)))

    def closed(self, connection: Connection, reason: str) -> None:
        self.told.append(("closed", reason))


def test_both_sides_are_opened_and_get_what_the_other_sends() -> None:
    one, two = Notes(), Notes()
    with ConnectionPair(one, two) as pair:
        pair.a.send(SMALL)
        pair.b.send(LARGE, [b"abc", memoryview(b"def")])
        pair.settle()
        assert one.told == [("opened",), (LARGE, b"abcdef")]
        assert two.told == [("opened",), (SMALL, None)]


def test_a_cut_closes_both_once() -> None:
    one, two = Notes(), Notes()
    with ConnectionPair(one, two) as pair:
        pair.cut("the cable is gone")
        pair.a.send(SMALL)
    assert one.told == two.told == [("opened",), ("closed", "the cable is gone")]


def test_the_last_message_arrives_before_the_end() -> None:
    one, two = Notes(), Notes()
    with ConnectionPair(one, two) as pair:
        pair.a.close(SMALL)
        pair.settle()
    assert two.told == [("opened",), (SMALL, None), ("closed", "the other side closed the connection")]
    assert one.told == [("opened",), ("closed", "this side closed the connection")]


def test_a_receiver_that_refuses_a_message_says_goodbye() -> None:
    one, two = Notes(), Notes()
    two.refuses = True
    with ConnectionPair(one, two) as pair:
        pair.a.send(SMALL)
        pair.settle()
    head = one.told[1][0]
    assert isinstance(head, bytes)
    goodbye = read_stream_message(head).goodbye
    assert goodbye == Goodbye(reason=GoodbyeReason.MISBEHAVED, sentence="no such message")
    assert two.told[-1][0] == "closed"


def test_what_is_held_is_delivered_on_release_and_lost_in_a_cut() -> None:
    one, two = Notes(), Notes()
    with ConnectionPair(one, two) as pair:
        pair.hold()
        pair.a.send(LARGE, [b"abcdef"])
        pair.settle()
        assert pair.a.num_bytes_to_send
        assert two.told == [("opened",)]
        pair.release()
        pair.settle()
        assert not pair.a.num_bytes_to_send
        pair.hold()
        pair.a.send(SMALL)
    assert two.told[1:] == [(LARGE, b"abcdef"), ("closed", "the connection broke")]


def test_receivers_are_called_by_a_thread_of_the_network() -> None:
    threads = set()

    class Receiver(Notes):
        def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
            threads.add(threading.current_thread())

    with ConnectionPair(Receiver(), Receiver()) as pair:
        pair.a.send(SMALL)
        pair.b.send(SMALL)
        pair.settle()
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_an_attachment_of_another_size_than_announced_is_a_mistake_of_the_sender() -> None:
    with (
        ConnectionPair(Notes(), Notes()) as pair,
        pytest.raises(ValueError, match="attachment_bytes=6 and 3 are attached"),
    ):
        pair.a.send(LARGE, [b"abc"])


def test_what_a_receiver_raises_is_raised_where_the_test_waits() -> None:
    class Broken(Notes):
        def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
            raise KeyError("broken")

    with ConnectionPair(Notes(), Broken()) as pair:
        pair.a.send(goodbye_message(Goodbye(reason=GoodbyeReason.DONE)))
        with pytest.raises(KeyError, match="broken"):
            pair.settle()
