"""What a gateway says to a runner that breaks off and comes back, leaves, or gives its state."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from time import monotonic

import pytest

from outrider.envrunner.fleet.remote_runners import Failed, Left, Lost, Sampled
from outrider.envrunner.gateway import runner_service
from outrider.testing.numbered_runner import numbered_weights
from outrider.testing.opened_gateway import Make, goodbye, opened_gateways
from outrider.testing.raw_runner import RawRunner, numbered_fragment
from outrider.wire import decode_tree, encode_tree, session
from outrider.wire.session import GoodbyeReason


@pytest.fixture
def opened() -> Iterator[Make]:
    with opened_gateways() as make:
        yield make


def test_who_comes_back_is_told_what_has_arrived_and_asked_for_what_it_has_not_heard_of(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.ask(0, 0, 0)
    peer.deliver(1, numbered_fragment(1))
    assert made.delivered() == [1.0]
    peer = made.back(peer, last_ask=2, version=0)
    assert peer.heard(session.SessionWelcome)[0].acknowledged == 1
    assert peer.heard(session.Ask) == [session.Ask(3, 0)]
    assert not peer.heard(session.WeightsDelivery)
    assert not peer.heard(session.Assignment)


def test_operators_who_were_told_of_a_loss_are_told_of_the_return(
    opened: Make, caplog: pytest.LogCaptureFixture
) -> None:
    made = opened()
    made.back(made.up(), last_ask=0)
    lost, back = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert lost.getMessage().startswith("lost touch with runner 0, farm-7")
    assert back.getMessage().startswith("runner 0, farm-7")
    assert " is in touch again: " in back.getMessage()


def test_what_arrived_before_the_connection_broke_need_not_come_again(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.ask(0)
    peer.deliver(1, numbered_fragment(7))
    peer = made.back(peer, last_ask=1, version=0)
    assert peer.heard(session.SessionWelcome)[0].acknowledged == 0
    peer.deliver(1, numbered_fragment(7))
    assert made.delivered() == [7.0]
    assert peer.heard(session.Acknowledgement) == [session.Acknowledgement(1)]


def test_weights_that_were_lost_on_the_way_are_sent_again(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.ask(4)
    peer = made.back(peer, last_ask=1, version=None)
    assert peer.heard(session.WeightsDelivery) == [session.WeightsDelivery(4)]
    assert not peer.heard(session.Ask)


def test_weights_that_were_offered_and_lost_on_the_way_are_sent_again(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.gateway.offer(numbered_weights(4))
    made.ask(None)
    peer = made.back(peer, last_ask=0, version=None)
    assert peer.heard(session.WeightsDelivery) == [session.WeightsDelivery(4)]
    assert peer.heard(session.Ask) == [session.Ask(1, None)]


def test_asks_and_weights_of_the_time_without_a_connection_follow(opened: Make) -> None:
    made = opened()
    peer = made.up()
    key = peer.heard(session.SessionWelcome)[0].session
    made.port.cut()
    made.gateway.offer(numbered_weights(2))
    made.ask(None, 3)
    peer = RawRunner(made.port)
    assert peer.join(session=key).resumed
    assert peer.heard(session.Ask) == [session.Ask(1, None), session.Ask(2, 3)]
    assert session.WeightsDelivery(3) in peer.heard(session.WeightsDelivery)


def test_a_second_connection_takes_the_session_over(opened: Make) -> None:
    made = opened()
    first = made.up()
    made.ask(0)
    second = RawRunner(made.port)
    assert second.join(session=first.heard(session.SessionWelcome)[0].session).resumed
    assert goodbye(first)[0] is GoodbyeReason.LATER
    second.deliver(1, numbered_fragment(7))
    assert made.delivered() == [7.0]


def test_who_does_not_come_back_is_lost_and_its_session_with_it(
    opened: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(reconnect_timeout_s=600)
    peer = made.up()
    key = peer.heard(session.SessionWelcome)[0].session
    made.port.cut()
    assert made.events() == []
    monkeypatch.setattr(runner_service, "monotonic", lambda: monotonic() + 600)
    (lost,) = made.gateway.events(30)
    assert isinstance(lost, Lost)
    assert "reconnect_timeout_s=600" in lost.reason
    made.gateway.start(0, incarnation=1)
    again = RawRunner(made.port)
    welcome = again.join(session=key)
    assert not welcome.resumed
    assert welcome.session != key
    assert again.heard(session.Assignment)[0].incarnation == 1


def test_a_session_that_is_ended_for_who_had_it_leaves_its_seat_at_once_to_who_waits(opened: Make) -> None:
    made = opened(reconnect_timeout_s=600)
    peer = made.up()
    made.ask(0)
    successor, spare = made.back(peer, last_ask=0), RawRunner(made.port)
    spare.join()
    successor.say(session.Goodbye(reason=GoodbyeReason.FAILED, sentence="its process has died"))
    (failed,) = made.events()
    assert isinstance(failed, Failed)
    assert str(failed.error).endswith("failed: its process has died")
    made.gateway.start(0, incarnation=1)
    assert spare.heard(session.Assignment)[0].incarnation == 1
    assert spare.heard(session.Ask) == []


def test_who_breaks_off_before_it_is_ready_is_lost_at_once(opened: Make) -> None:
    made = opened()
    RawRunner(made.port).join()
    made.port.cut()
    *_, lost = made.events()
    assert isinstance(lost, Lost)


def test_a_session_that_nobody_knows_begins_anew(opened: Make) -> None:
    welcome = RawRunner(opened().port).join(session="guessed", last_ask=7)
    assert not welcome.resumed
    assert welcome.session != "guessed"


def test_who_is_sent_away_is_told_why(opened: Make) -> None:
    made = opened(1)
    peer = RawRunner(made.port)
    peer.join()
    made.gateway.stop(0, "it delivered nothing for 20 s")
    assert (
        peer.heard(session.Goodbye)[0].sentence == "the run sent runner 0 away: it delivered nothing for 20 s"
    )


def test_a_runner_of_ours_joins_with_the_session_that_was_kept_for_it(opened: Make) -> None:
    made = opened(2)
    made.gateway.stop(1)
    known = made.gateway.reserve(1)
    made.gateway.start(1, incarnation=4)
    peer = RawRunner(made.port)
    assert peer.join(session=known).session == known
    assert (peer.heard(session.Assignment)[0].runner, peer.heard(session.Assignment)[0].incarnation) == (1, 4)


def test_who_leaves_is_told_when_everything_has_arrived(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.ask(0)
    peer.say(session.Leaving("SIGTERM"))
    made.ask(0)
    peer.deliver(1, numbered_fragment(7))
    sampled, left = made.events()
    assert isinstance(sampled, Sampled)
    assert isinstance(left, Left)
    assert goodbye(peer)[0] is GoodbyeReason.DONE
    assert peer.heard(session.Ask) == [session.Ask(1, 0)]
    assert peer.heard(session.Acknowledgement) == [session.Acknowledgement(1)]


def test_a_run_that_is_over_says_so(opened: Make) -> None:
    made = opened()
    peer, spare = made.up(), RawRunner(made.port)
    spare.join()
    made.gateway.close()
    assert goodbye(peer) == goodbye(spare) == (GoodbyeReason.DONE, "the training run is over")


def test_a_run_that_may_be_resumed_asks_its_runners_to_come_back(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.gateway.is_last = False
    made.gateway.close()
    sentence = "the training run was stopped and may be resumed"
    assert goodbye(peer) == (GoodbyeReason.LATER, sentence)


def test_a_seat_that_is_given_up_is_offered_again(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.gateway.stop(0)
    reason, sentence = goodbye(peer)
    assert reason is GoodbyeReason.LATER
    assert "takes whoever dials next" in sentence


def answering(peer: RawRunner, answer: Callable[[int], None]) -> None:
    """Answer the next state request from another thread."""

    def run() -> None:
        while not (requests := peer.heard(session.StateRequest)):
            pass
        answer(requests[-1].request)

    threading.Thread(target=run, daemon=True).start()


def test_a_state_is_asked_for_and_given(opened: Make) -> None:
    made = opened()
    peer = made.up()
    answering(peer, lambda n: peer.say(session.StateDelivery(n), encode_tree({"seed": 2**70}).pieces()))
    assert made.gateway.get_state(0, 30) == {"seed": 2**70}


def test_a_runner_takes_a_state_and_gets_its_weights_again(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.ask(0)
    peer.deliver(1, numbered_fragment())
    made.events()
    answering(peer, lambda n: peer.say(session.StateDelivery(n)))
    made.gateway.set_state(0, {"seed": 3}, 30)
    state = peer.attachments[peer.messages.index(session.StateRequest(1))]
    assert state is not None
    assert decode_tree(state) == {"seed": 3}
    made.ask(0)
    assert peer.heard(session.WeightsDelivery) == [session.WeightsDelivery(0)] * 2


def test_a_state_that_does_not_come_is_not_waited_for_longer_than_allowed(opened: Make) -> None:
    made = opened()
    made.up()
    with pytest.raises(TimeoutError, match=r"farm-7 \(memory:b\) did not answer within 0.01 s"):
        made.gateway.get_state(0, 0.01)


def test_a_state_that_a_runner_cannot_take_is_told_with_its_sentence(opened: Make) -> None:
    made = opened()
    peer = made.up()
    answering(peer, lambda n: peer.say(session.StateDelivery(n, "no such level")))
    with pytest.raises(ConnectionError, match="could not do it: no such level"):
        made.gateway.set_state(0, {}, 30)


def test_a_state_request_outlives_a_connection(opened: Make) -> None:
    made = opened()
    peer = made.up()

    def answer(number: int) -> None:
        again = made.back(peer, last_ask=0)
        assert again.heard(session.StateRequest) == [session.StateRequest(number)]
        again.say(session.StateDelivery(number), encode_tree({}).pieces())

    answering(peer, answer)
    assert made.gateway.get_state(0, 30) == {}


def test_of_runners_that_are_gone_together_only_the_first_is_waited_for(opened: Make) -> None:
    made = opened(2, reconnect_timeout_s=0.2)
    for _ in range(2):
        made.up()
    made.port.cut()
    with pytest.raises((TimeoutError, ConnectionError)):
        made.gateway.get_state(0, 0.3)  # which is longer
    with pytest.raises(ConnectionError, match="runner 1 is gone"):
        made.gateway.get_state(1, 5.0)


def test_who_is_gone_has_no_state(opened: Make) -> None:
    made = opened()
    peer = made.up()
    answering(peer, lambda _: peer.say(session.Goodbye(reason=GoodbyeReason.FAILED)))
    with pytest.raises(ConnectionError, match="is gone"):
        made.gateway.get_state(0, 30)
