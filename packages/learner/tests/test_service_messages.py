"""A run is served message by message: who breaks a rule is told which, and who reads slowly is waited for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from outrider.learner.groups.introduction import introduction
from outrider.learner.service import learner_service, served_run
from outrider.learner.service.learner_service import LearnerService
from outrider.learner.service.served_groups import OneLearner
from outrider.learner.service.service_connection import ServiceConnection
from outrider.learner.service.service_plan import plan_message
from outrider.transport import outbox
from outrider.transport.outbox import Outbox
from outrider.transport.received import fragment_pieces
from outrider.wire import WireError, decode_learn_response, encode_learn_request, encode_tree, session

LONG = 20.0
"""Seconds after which a wait is stuck; none of them is waited for."""


def test_an_update_may_be_asked_for_before_its_fragments_are_here(network: Any, one: Any) -> None:
    connection = ServiceConnection(network.dial, LONG)
    start = encode_tree({"plan": plan_message(one.plan()), "state": None})
    connection.send(session.LearnStart(asynchronous=False), start.pieces())
    connection.send(session.LearnUpdate(2))
    for fragment in one.put_in(0):
        connection.send_fragment(fragment_pieces(fragment))
    said = [connection.take(LONG) for _ in range(4)]
    assert [type(each[0]) for each in said if each] == [
        session.LearnWeights,
        session.LearnReady,
        session.LearnWeights,
        session.LearnReport,
    ]
    connection.close()


def says(network: Any, *messages: Any, attached: bytes = b"") -> str:
    """Say something to the service and return the sentence that it ends the run with."""
    connection = ServiceConnection(network.dial, LONG)
    for message in messages:
        connection.send(message, [attached] if attached else [])
    try:
        while connection.take(LONG):
            pass
    except RuntimeError as error:
        return str(error)
    raise AssertionError("the service said nothing")


@pytest.mark.parametrize(
    ("message", "attached", "sentence"),
    [
        (session.LearnFragment(1), b"x", "there are no learners yet"),
        (session.LearnStateRequest(1), b"", "there are no learners yet"),
        (session.LearnUpdate(1), b"", "there are no learners yet"),
        (session.LearnStart(asynchronous=False), b"\x80", "tree"),
        (session.LearnStart(asynchronous=False), b"", "tree"),
    ],
)
def test_who_breaks_a_rule_is_told_which_and_the_next_run_is_served(
    network: Any, one: Any, caplog: pytest.LogCaptureFixture, message: Any, attached: bytes, sentence: str
) -> None:
    caplog.set_level(logging.ERROR)
    assert sentence in says(network, message, attached=attached)
    network.group(one.plan()).close()


def test_who_holds_the_service_and_starts_nothing_is_sent_away(
    network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_service, "_START_TIMEOUT_S", 0.3)
    assert "no start came within 0.3 s" in says(network)


def test_no_more_messages_wait_for_the_learners_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner_service, "_MAX_QUEUED", 3)
    service, line = learner_service.LearnerService(OneLearner()), Line()
    service.opened(line)  # nobody serves: learners that are busy for long
    update = encode_learn_request(session.LearnUpdate(1))
    for _ in range(3):
        service.received(line, update, None)
    with pytest.raises(WireError, match="3 messages wait to be read"):
        service.received(line, update, None)


class Line:
    """A connection that nobody is on the other side of."""

    peer, identity, num_bytes_to_send, broke_rule = "nowhere", "", 0, False

    def send(self, head: bytes, attachment: object = ()) -> None: ...

    def keep(self, terms: session.Terms) -> None: ...

    def close(self, last: bytes = b"") -> None: ...


class Heard:
    """An algorithm's connection, as the service sees it; keeps what it was sent."""

    peer, identity, num_bytes_to_send, broke_rule = "peer", "", 0, False

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.is_closed = threading.Event()
        self.has_state = threading.Event()

    def send(self, head: bytes, attachment: Any = ()) -> None:
        self.said.append(decode_learn_response(head))
        if isinstance(self.said[-1], session.LearnState):
            self.has_state.set()

    def keep(self, terms: Any) -> None: ...

    def close(self, last: bytes = b"") -> None:
        self.said.append(decode_learn_response(last))
        self.is_closed.set()


def test_a_service_that_is_told_to_stop_stays_until_its_state_has_come(
    one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_service, "_TAKEN_TIMEOUT_S", 60.0)
    service, line = LearnerService(OneLearner()), Heard()
    thread = threading.Thread(target=service.serve)
    start = encode_tree({"plan": plan_message(one.plan()), "state": None}).to_bytes()
    service.opened(line)
    service.received(line, encode_learn_request(introduction("an algorithm")), None)
    service.received(
        line, encode_learn_request(session.LearnStart(False), attachment_bytes=len(start)), memoryview(start)
    )
    service.received(line, encode_learn_request(session.LearnStateRequest(1)), None)
    thread.start()
    assert line.has_state.wait(20)
    line.has_state.clear()
    service.stop("it was told to stop")
    assert line.has_state.wait(20)
    assert line.said[-1] == session.LearnState(0)
    assert not line.is_closed.wait(0.05)
    service.received(line, encode_learn_request(session.LearnStateRequest(0)), None)
    assert line.is_closed.wait(20)
    assert line.said[-1].reason is session.GoodbyeReason.LATER
    thread.join(20)


class Slow:
    """A run that reads nothing of what it is sent, but where `read` is called."""

    peer, identity, broke_rule = "slow", "", False

    def __init__(self) -> None:
        self._outbox = Outbox()
        self.was_too_full = False
        self.room = 0

    @property
    def num_bytes_to_send(self) -> int:
        return self._outbox.num_large_bytes

    def send(self, head: bytes, attachment: Any = ()) -> None:
        self._outbox.put(head, attachment)
        self.was_too_full |= self._outbox.is_too_full
        match decode_learn_response(head):
            case session.LearnReady(room=room) | session.LearnRoom(last_sequence=room):
                self.room = room

    def read(self) -> None:
        while self._outbox.take() is not None:
            pass

    def keep(self, terms: Any) -> None: ...

    def close(self, last: bytes = b"") -> None: ...


def test_a_run_that_reads_slowly_is_sent_weights_no_faster_than_it_reads_them(
    one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MIN_WAITING_BYTES", 0)
    monkeypatch.setattr(served_run, "_SOON_BYTES", 0)
    line = Slow()
    run = served_run.ServedRun(line, OneLearner(), network_modules=())
    run.receive(introduction("a test"), memoryview(b""))
    start = encode_tree({"plan": plan_message(one.plan("impala")), "state": None})
    run.receive(session.LearnStart(asynchronous=True), memoryview(start.to_bytes()))
    fragments = [
        memoryview(b"".join(fragment_pieces(each))) for seed in range(8) for each in one.put_in(seed)
    ]
    num_put = 0

    def go_on(until: Callable[[], bool]) -> None:
        nonlocal num_put
        deadline = time.monotonic() + LONG
        while not until() and time.monotonic() < deadline:
            while num_put < min(line.room, len(fragments)):
                num_put += 1
                run.receive(session.LearnFragment(num_put), fragments[num_put - 1])
            run.work()
            time.sleep(0.002)

    began = time.monotonic()
    go_on(lambda: line.was_too_full or num_put == len(fragments) or time.monotonic() > began + 0.5)
    assert not line.was_too_full
    assert num_put < len(fragments)
    line.read()
    while num_put < len(fragments):
        go_on(lambda: line.num_bytes_to_send > 0 or num_put == len(fragments))
        assert time.monotonic() < began + LONG
        line.read()
    run.end()
