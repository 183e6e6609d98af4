"""A runner of a farm does what its gateway asks, once, whatever happens to the connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from outrider.envrunner.farm.farm_ending import Ended, Ending
from outrider.envrunner.farm.farm_work import Assigned, StateWanted
from outrider.testing.farm_stage import TERMS, Stage
from outrider.wire import Refusal, RefusalReason, Welcome, session
from outrider.wire.session import Goodbye, GoodbyeReason


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


def test_a_seat_is_told_of_when_the_run_has_one_and_after_a_break_at_once(stage: Stage) -> None:
    stage.connect()
    stage.say(session.SessionWelcome(welcome=Welcome(component="a trainer"), session="s", terms=TERMS))
    assert "seated" not in stage.witness.told
    stage.say(
        session.Assignment(runner=0, incarnation=0, num_environments=1, num_steps=1, seed=1),
        attachment=b"graph",
    )
    assert stage.witness.told.count("seated") == 1
    stage.cut()
    stage.connect()
    stage.welcome(resumed=True)
    assert stage.witness.told.count("seated") == 2


def test_who_takes_the_place_of_a_process_that_died_ends_its_session_and_begins_one_of_its_own() -> None:
    stage = Stage(known="of the dead")
    assert stage.connect().session == "of the dead"
    stage.welcome(resumed=True, known="of the dead")
    stage.give_weights(3)
    stage.say(session.Ask(1))
    (goodbye,) = stage.gateway.heard
    assert (goodbye.reason, "its process has died" in goodbye.sentence) == (GoodbyeReason.FAILED, True)
    assert not stage.has_work()
    stage.session.wait_until_closed()
    assert stage.session.was_welcome()
    assert stage.session.pause(0)
    assert stage.connect().session == ""
    stage.welcome()
    assert isinstance(stage.session.next_work(), Assigned)
    assert "seated" in stage.witness.told
    stage.close()


def test_who_takes_the_place_of_a_process_whose_session_is_over_stays() -> None:
    stage = Stage(known="of the dead")
    stage.connect()
    stage.welcome(known="s")
    assert isinstance(stage.session.next_work(), Assigned)
    assert stage.gateway.heard == []
    stage.close()


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
