from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from outrider.envrunner.farm.farm_ending import Ended, Ending
from outrider.envrunner.farm.farm_session import FarmSession
from outrider.envrunner.farm.farm_work import AbandonedError, Assigned, Sample, StateWanted
from outrider.testing.connections import ConnectionPair
from outrider.testing.messages import example_spaces
from outrider.transport.connection import Connection
from outrider.wire import Hello, Refusal, RefusalReason, Welcome, session
from outrider.wire.session import Goodbye, GoodbyeReason
from outrider.wire.session_codec import decode_sample_request, encode_sample_response

TERMS = session.Terms(heartbeat_interval_s=1.0, silence_timeout_s=4.0, session_timeout_s=30.0)
SPACES = example_spaces()


class Gateway:
    """Writes down what a runner says, and says what a test wants."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.attached: list[bytes | None] = []
        self.connection: Connection

    def opened(self, connection: Connection) -> None:
        self.connection = connection

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        self.heard.append(decode_sample_request(head))
        self.attached.append(None if attachment is None else bytes(attachment))

    def closed(self, connection: Connection, reason: str) -> None:
        pass

    def say(self, *messages: Any, attachment: bytes = b"") -> None:
        for message in messages:
            head = encode_sample_response(message, attachment_bytes=len(attachment))
            self.connection.send(head, [attachment] if attachment else [])

    def sequences(self) -> list[int]:
        """Which fragments were handed in, in order."""
        return [each.sequence for each in self.heard if isinstance(each, session.FragmentDelivery)]


class Witness:
    def __init__(self) -> None:
        self.told: list[str] = []

    def connected(self, sentence: str) -> None:
        self.told.append(sentence)

    lost = parted = noticed = waits = connected

    def sampled(self, fragment: Any) -> None:
        pass


class Stage:
    """A runner's session, and one gateway after the other that it is connected to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.witness = Witness()
        join = session.Join(
            hello=Hello(component="a farm"),
            name="farm runner 0",
            observation_space=SPACES["box"],
            action_space=SPACES["discrete"],
        )
        self.session = FarmSession(join, witness=self.witness, clock=lambda: self.now)
        self.gateway = Gateway()
        self._pairs: list[ConnectionPair] = []

    def connect(self) -> session.Join:
        """Connect anew, and return how the runner introduces itself."""
        self.gateway = Gateway()
        self._pairs.append(ConnectionPair(self.gateway, self.session))
        self.gateway.attached.clear()
        return self.gateway.heard.pop(0)  # type: ignore[no-any-return]

    def welcome(self, *, resumed: bool = False, acknowledged: int = 0, known: str = "s") -> None:
        """Let the runner in, and assign it something unless it has that."""
        welcome = session.SessionWelcome(
            welcome=Welcome(component="a trainer"),
            session=known,
            resumed=resumed,
            acknowledged=acknowledged,
            terms=TERMS,
        )
        self.say(welcome)
        if not resumed:
            assignment = session.Assignment(runner=3, incarnation=1, num_environments=2, num_steps=5, seed=7)
            self.say(assignment, attachment=b"graph")

    def join(self) -> Assigned:
        """Connect to a gateway for the first time."""
        self.connect()
        self.welcome()
        assigned = self.session.next_work()
        assert isinstance(assigned, Assigned)
        return assigned

    def say(self, *messages: Any, attachment: bytes = b"") -> None:
        self.gateway.say(*messages, attachment=attachment)
        self.settle()

    def give_weights(self, version: int) -> None:
        self.say(session.WeightsDelivery(version), attachment=b"weights %d" % version)

    def cut(self) -> None:
        self._pairs[-1].cut("the cable broke")

    def settle(self) -> None:
        self._pairs[-1].settle()

    def sample(self) -> Sample:
        """Take a request for a fragment."""
        work = self.session.next_work()
        assert isinstance(work, Sample)
        return work

    def deliver(self, work: Sample) -> None:
        self.session.deliver(work.life, work.sequence, [b"fragment ", b"%d" % work.sequence])
        self.settle()

    def has_work(self) -> bool:
        with self.session._changed:
            return self.session._next_work() is not None

    def close(self) -> None:
        for pair in self._pairs:
            pair.__exit__(None, None, None)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


def view(weights: memoryview | None) -> bytes | None:
    return None if weights is None else bytes(weights)


def test_a_runner_introduces_itself_first_and_makes_what_it_is_assigned(stage: Stage) -> None:
    join = stage.connect()
    assert (join.name, join.session, join.last_ask, join.weights_version) == ("farm runner 0", "", 0, None)
    stage.welcome()
    work = stage.session.next_work()
    assert isinstance(work, Assigned)
    assert (work.assignment.runner, bytes(work.graph)) == (3, b"graph")
    stage.session.ready(work.life)
    stage.settle()
    assert stage.gateway.heard == [session.Ready()]


def test_the_terms_of_the_gateway_are_kept(stage: Stage) -> None:
    stage.join()
    assert stage._pairs[-1].b.terms == TERMS


def test_a_fragment_goes_out_with_its_number_and_its_bytes(stage: Stage) -> None:
    stage.join()
    stage.give_weights(0)
    stage.say(session.Ask(1))
    stage.deliver(stage.sample())
    assert stage.gateway.heard == [session.FragmentDelivery(1, weights_version=0)]
    assert stage.gateway.attached[-1] == b"fragment 1"


def test_an_ask_without_weights_waits_for_the_first(stage: Stage) -> None:
    stage.join()
    stage.say(session.Ask(1))
    assert not stage.has_work()
    stage.give_weights(4)
    assert view(stage.sample().weights) == b"weights 4"


def test_the_newest_weights_act_once(stage: Stage) -> None:
    stage.join()
    for version in range(3):
        stage.give_weights(version)
    stage.say(session.Ask(1), session.Ask(2))
    assert view(stage.sample().weights) == b"weights 2"
    assert stage.sample().weights is None


def test_only_the_newest_weights_are_kept_where_nobody_waits_for_others(stage: Stage) -> None:
    stage.join()
    for version in range(5):
        stage.give_weights(version)
    assert list(stage.session._weights) == [4]


def test_exact_weights_are_waited_for_and_act_also_where_newer_ones_came(stage: Stage) -> None:
    stage.join()
    stage.say(session.Ask(1, weights_version=2), session.Ask(2, weights_version=3))
    stage.give_weights(1)
    assert not stage.has_work()
    stage.give_weights(2)
    stage.give_weights(3)
    assert [view(stage.sample().weights) for _ in range(2)] == [b"weights 2", b"weights 3"]


def test_newer_weights_act_where_those_of_an_ask_were_lost_with_the_connection(stage: Stage) -> None:
    stage.join()
    stage.give_weights(1)
    stage.say(session.Ask(1, weights_version=2))  # which has overtaken them
    assert not stage.has_work()
    stage.cut()
    assert stage.connect().weights_version == 1
    stage.welcome(resumed=True)
    stage.give_weights(5)
    assert view(stage.sample().weights) == b"weights 5"


def test_after_a_break_the_runner_says_how_far_it_got_and_sends_again_what_is_not_acknowledged(
    stage: Stage,
) -> None:
    stage.join()
    stage.give_weights(6)
    stage.say(*(session.Ask(sequence) for sequence in range(1, 5)))
    for _ in range(3):
        stage.deliver(stage.sample())
    stage.cut()
    join = stage.connect()
    assert (join.session, join.last_ask, join.weights_version) == ("s", 4, 6)
    stage.welcome(resumed=True, acknowledged=1)
    stage.settle()
    assert stage.gateway.sequences() == [2, 3]
    assert stage.gateway.attached == [b"fragment 2", b"fragment 3"]
    assert stage.sample().sequence == 4


def test_a_fragment_that_is_done_without_a_connection_is_sent_with_the_next(stage: Stage) -> None:
    stage.join()
    stage.give_weights(0)
    stage.say(session.Ask(1))
    work = stage.sample()
    stage.cut()
    stage.deliver(work)
    stage.connect()
    assert stage.gateway.heard == []  # not before it is let in
    stage.welcome(resumed=True)
    assert stage.gateway.sequences() == [1]


def test_what_is_acknowledged_is_forgotten(stage: Stage) -> None:
    stage.join()
    stage.give_weights(0)
    stage.say(session.Ask(1), session.Ask(2))
    for _ in range(2):
        stage.deliver(stage.sample())
    stage.say(session.Acknowledgement(1))
    assert [sequence for sequence, _, _ in stage.session._unacknowledged] == [2]


def test_an_ask_that_comes_again_is_answered_once(stage: Stage) -> None:
    stage.join()
    stage.give_weights(0)
    stage.say(session.Ask(1), session.Ask(1))
    stage.sample()
    assert not stage.has_work()


def test_a_gateway_that_restarted_gets_no_old_fragment_and_people_are_told(stage: Stage) -> None:
    stage.join()
    stage.give_weights(3)
    stage.say(session.Ask(1), session.Ask(2))
    work = stage.sample()
    stage.cut()
    stage.connect()
    stage.welcome(known="another")
    stage.session.deliver(work.life, work.sequence, [b"of before"])
    anew = stage.session.next_work()
    assert isinstance(anew, Assigned)
    assert anew.life == work.life + 1
    assert not stage.has_work()
    assert stage.gateway.sequences() == []
    assert "begins anew; fragments thrown away that nobody had acknowledged: 2" in stage.witness.told
    stage.cut()
    assert stage.connect().session == "another"


def test_a_state_is_told_and_taken(stage: Stage) -> None:
    stage.join()
    stage.say(session.StateRequest(1))
    wanted = stage.session.next_work()
    assert wanted == StateWanted(wanted.life, 1, None)  # type: ignore[union-attr]
    stage.session.answer(wanted.life, 1, [b"state"])  # type: ignore[union-attr]
    stage.say(session.StateRequest(2), attachment=b"a state")
    given = stage.session.next_work()
    assert isinstance(given, StateWanted)
    assert view(given.state) == b"a state"
    stage.session.answer(given.life, 2, error="no")
    stage.settle()
    assert stage.gateway.heard == [session.StateDelivery(1), session.StateDelivery(2, "no")]
    assert stage.gateway.attached == [b"state", None]


def test_weights_that_came_before_a_state_was_taken_do_not_act_after_it(stage: Stage) -> None:
    stage.join()
    stage.give_weights(3)
    stage.say(session.StateRequest(1), attachment=b"a state")
    assert isinstance(stage.session.next_work(), StateWanted)
    stage.session.forget_weights()
    stage.say(session.Ask(1))
    assert not stage.has_work()
    stage.give_weights(3)
    assert view(stage.sample().weights) == b"weights 3"


def refuse(stage: Stage) -> None:
    refusal = Refusal(reason=RefusalReason.PROTOCOL, sentence="too old")
    stage.say(session.SessionWelcome(welcome=Welcome(component="a trainer", refusal=refusal)))


def part(reason: GoodbyeReason) -> Callable[[Stage], None]:
    return lambda stage: stage.say(Goodbye(reason=reason, sentence="too old"))


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        (refuse, Ending.REFUSED),
        (part(GoodbyeReason.REFUSED), Ending.REFUSED),
        (part(GoodbyeReason.MISBEHAVED), Ending.FAILED),
        (part(GoodbyeReason.DONE), Ending.OVER),
    ],
)
def test_a_gateway_that_wants_no_more_of_it_ends_the_session(
    stage: Stage, answer: Callable[[Stage], None], ending: Ending
) -> None:
    stage.connect()
    answer(stage)
    assert stage.session.next_work() == Ended(ending, "too old")
    assert not stage.session.pause(0)


@pytest.mark.parametrize("reason", [GoodbyeReason.LATER, GoodbyeReason.FAILED])
def test_a_gateway_that_goes_away_is_dialled_again(stage: Stage, reason: GoodbyeReason) -> None:
    stage.join()
    stage.say(Goodbye(reason=reason, sentence="back in an hour"))
    stage.session.wait_until_closed()
    assert stage.session.pause(0)
    assert stage.witness.told[-1] == "back in an hour"
    assert stage.connect().session == "s"


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
