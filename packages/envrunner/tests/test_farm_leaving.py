"""A runner of a farm leaves: with what it owes handed in, in time, and with a last word."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from outrider.envrunner.farm.farm_ending import Ended, Ending
from outrider.testing.farm_stage import Stage
from outrider.wire import session
from outrider.wire.session import Goodbye, GoodbyeReason


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


def test_a_runner_that_leaves_finishes_what_it_was_asked_for(stage: Stage) -> None:
    stage.join()
    stage.give_weights(0)
    stage.say(session.Ask(1), session.Ask(2))
    stage.deliver(stage.sample())
    stage.session.leave("it is time", within_s=60)
    stage.settle()
    assert stage.gateway.heard[-1] == session.Leaving("it is time")
    stage.deliver(stage.sample())
    stage.now = 1.0
    assert not stage.has_work()  # two fragments are not acknowledged yet
    stage.say(session.Acknowledgement(2))
    assert stage.session.next_work() == Ended(Ending.DRAINED)


def test_the_goodbye_of_a_gateway_ends_the_leaving(stage: Stage) -> None:
    stage.join()
    stage.session.leave("it is time", within_s=60)
    stage.say(Goodbye(reason=GoodbyeReason.DONE, sentence="thank you"))
    assert stage.session.next_work() == Ended(Ending.DRAINED, "thank you")


def test_who_wants_to_leave_dials_at_once_to_deliver_what_it_owes(stage: Stage) -> None:
    leaving = threading.Timer(0.01, stage.session.leave, ["it is time"], {"within_s": 60})
    leaving.start()
    assert stage.session.pause(30)
    leaving.join(10)


def test_leaving_takes_no_longer_than_it_may(stage: Stage) -> None:
    stage.join()
    stage.say(session.Ask(1))  # and never any weights
    stage.session.leave("it is time", within_s=60)
    stage.now = 59.0
    assert not stage.has_work()
    stage.now = 60.0
    assert stage.session.next_work() == Ended(Ending.DRAINED)
    assert stage.witness.told[-1] == (
        "leaves because its time is over; fragments thrown away that nobody had acknowledged: 1"
    )


def test_a_runner_without_a_gateway_leaves_at_once(stage: Stage) -> None:
    stage.session.leave("it is time", within_s=60)
    assert stage.session.next_work() == Ended(Ending.DRAINED)


def test_the_last_word_of_a_runner_arrives(stage: Stage) -> None:
    stage.join()
    goodbye = Goodbye(reason=GoodbyeReason.FAILED, sentence="the environment broke")
    stage.session.part(goodbye)
    assert stage.gateway.heard == [goodbye]


def test_a_pause_ends_where_there_is_a_hurry(stage: Stage) -> None:
    hurrying = threading.Timer(0.02, stage.session.hurry)
    hurrying.start()
    began = time.monotonic()
    assert stage.session.pause(60.0)
    assert time.monotonic() - began < 30
    hurrying.join()
