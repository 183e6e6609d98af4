"""Requests about a runner's state go out one after the other."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from outrider.envrunner.gateway.state_requests import StateRequests
from outrider.wire import Bytes, session


class Line:
    """What was sent to a runner, and what it said of what it was told."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.sent: list[session.SampleResponse] = []
        self.heard: list[str] = []
        self.requests = StateRequests("a farm", self.changed, self.send)

    def send(self, message: session.SampleResponse, _: Sequence[Bytes]) -> None:
        self.sent.append(message)
        self.changed.notify_all()

    def tell(self) -> None:
        with self.changed:
            self.requests.tell([b"cast"], self.heard.append)


def test_nothing_is_asked_while_an_answer_to_what_was_told_is_due() -> None:
    line = Line()
    line.tell()
    with pytest.raises(TimeoutError, match="a farm did not answer within 0 s"):
        line.requests.call((), 0.0)
    assert line.sent == [session.StateRequest(1)]


def test_requests_that_wait_for_each_other_have_numbers_of_their_own() -> None:
    line = Line()
    line.tell()
    line.tell()
    asking = threading.Thread(target=line.requests.call, args=((), 30.0))
    asking.start()
    for number in (1, 2, 3):
        with line.changed:
            assert line.changed.wait_for(lambda n=number: session.StateRequest(n) in line.sent, 30.0)
            line.requests.take(number, "", None)
    asking.join(30.0)
    assert line.sent == [session.StateRequest(1), session.StateRequest(2), session.StateRequest(3)]


def test_a_runner_that_has_heard_what_it_was_told_is_asked_again() -> None:
    line = Line()
    line.tell()
    with line.changed:
        line.requests.take(1, "", None)
    with pytest.raises(TimeoutError):
        line.requests.call((), 0.0)
    assert line.heard == [""]
    assert line.sent == [session.StateRequest(1), session.StateRequest(2)]
