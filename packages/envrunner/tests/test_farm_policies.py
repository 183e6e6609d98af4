"""A runner of a farm asks its gateway for policies, over however many connections that takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from outrider.envrunner.farm.farm_ending import Ending
from outrider.envrunner.farm.farm_work import AbandonedError, Assigned
from outrider.testing.farm_stage import Stage
from outrider.wire import session


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


class Wanting:
    """Somebody who waits for policies on a thread of its own, as a runner that samples does."""

    def __init__(self, stage: Stage, life: int) -> None:
        self.answer: bytes | None = None
        self.error: Exception | None = None
        self._stage = stage
        self._thread = threading.Thread(target=self._want, args=(life,), daemon=True)
        self._thread.start()

    def _want(self, life: int) -> None:
        try:
            self.answer = bytes(self._stage.session.policies(life, [3, 5], [1]))
        except (ConnectionError, TimeoutError) as error:
            self.error = error

    def said(self) -> list[session.PoliciesWanted]:
        """Return what the gateway of now has heard, once there is something."""
        deadline = time.monotonic() + 10
        while not (said := [m for m in self._stage.gateway.heard if isinstance(m, session.PoliciesWanted)]):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return said

    def join(self) -> Wanting:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self


WANTED = session.PoliciesWanted(request=1, policies=(3, 5), dropped=(1,))


def test_policies_are_asked_for_and_come(stage: Stage) -> None:
    for request in (1, 2):
        wanting = Wanting(stage, stage.join().life if request == 1 else 1)
        assert wanting.said()[-1].policies == (3, 5)
        stage.settle()
        stage.say(session.PoliciesDelivery(request), attachment=b"weights %d" % request)
        assert wanting.join().answer == b"weights %d" % request


def test_policies_are_asked_for_again_where_the_connection_broke_and_taken_once(stage: Stage) -> None:
    wanting = Wanting(stage, stage.join().life)
    assert wanting.said() == [WANTED]
    stage.cut()
    stage.connect()
    stage.welcome(resumed=True)
    assert wanting.said() == [WANTED]
    for answer in (b"first", b"second"):
        stage.say(session.PoliciesDelivery(1), attachment=answer)
    assert wanting.join().answer == b"first"


def test_who_waits_for_policies_hears_that_the_session_is_over(stage: Stage) -> None:
    wanting = Wanting(stage, stage.join().life)
    wanting.said()
    stage.session.end(Ending.GAVE_UP, "there was no gateway")
    assert "the session ended while policies were waited for" in str(wanting.join().error)


def test_who_waits_for_policies_hears_that_the_gateway_does_not_know_it_any_more(stage: Stage) -> None:
    wanting = Wanting(stage, stage.join().life)
    wanting.said()
    stage.cut()
    stage.connect()
    stage.welcome(known="another")
    assert isinstance(wanting.join().error, AbandonedError)
    assert isinstance(stage.session.next_work(), Assigned)


def test_who_waits_for_policies_leaves_when_it_must(stage: Stage) -> None:
    wanting = Wanting(stage, stage.join().life)
    wanting.said()
    stage.session.leave("the machine is needed", within_s=5)
    stage.now = 5.0
    assert isinstance(wanting.join().error, AbandonedError)


def test_a_gateway_that_does_not_answer_is_not_waited_for_for_ever(stage: Stage) -> None:
    wanting = Wanting(stage, stage.join().life)
    wanting.said()
    stage.now = 61.0
    assert "the gateway did not send 2 policies within 60 s" in str(wanting.join().error)


def test_a_gateway_that_is_away_is_waited_for(stage: Stage) -> None:
    wanting = Wanting(stage, stage.join().life)
    wanting.said()
    stage.cut()
    stage.now = 100.0
    stage.connect()
    stage.welcome(resumed=True)
    wanting.said()
    stage.say(session.PoliciesDelivery(1), attachment=b"at last")
    assert wanting.join().answer == b"at last"
