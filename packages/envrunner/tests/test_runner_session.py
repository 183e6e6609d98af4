"""What a gateway says to a runner that joins and delivers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from outrider.envrunner.fleet.remote_runners import Waiting
from outrider.testing.numbered_runner import numbered_weights
from outrider.testing.opened_gateway import Make, goodbye, opened_gateways
from outrider.testing.raw_runner import RawRunner, numbered_fragment
from outrider.transport import LocalWeights
from outrider.wire import (
    Hello,
    ProtocolVersion,
    decode_policy_graph,
    decode_weights,
    session,
)
from outrider.wire.session import GoodbyeReason


@pytest.fixture
def opened() -> Iterator[Make]:
    with opened_gateways() as make:
        yield make


def large_weights(version: int) -> LocalWeights:
    """Weights that are on their way for a while: 2 MiB."""
    tensors = {"w": np.zeros(2**19, np.float32)}
    return LocalWeights(replace(numbered_weights(version).load(), tensors=tensors))


def test_a_runner_that_joins_is_welcome_and_told_what_to_sample(opened: Make) -> None:
    peer = RawRunner(opened(2, num_envs_per_env_runner=3).port)
    welcome = peer.join()
    assert welcome.welcome.refusal is None
    assert not welcome.resumed
    assert len(welcome.session) >= 16
    (assignment,) = peer.heard(session.Assignment)
    assert (assignment.runner, assignment.incarnation) == (0, 0)
    assert (assignment.num_environments, assignment.num_steps, assignment.seed) == (3, 1, 5)
    graph = peer.attachments[-1]
    assert graph is not None
    assert decode_policy_graph(graph).fingerprint == "numbered"


def test_a_seat_that_is_free_says_where_runners_are_awaited_whoever_sits_on_others(opened: Make) -> None:
    made = opened(2)
    RawRunner(made.port).join()
    made.gateway.stop(1)
    made.gateway.start(1, incarnation=1)
    assert made.events()[-1] == Waiting(1, "farms are awaited at memory")


def test_both_sides_hear_of_each_other_often_enough_to_notice_a_frozen_one_within_12_s(opened: Make) -> None:
    welcome = RawRunner(opened().port).join()
    assert welcome.terms is not None
    assert welcome.terms.heartbeat_interval_s * 2 < welcome.terms.silence_timeout_s < 12


def test_a_runner_of_protocol_1_0_need_not_say_with_which_weights_it_began(opened: Make) -> None:
    made = opened()
    peer = made.up(hello=Hello(component="farm 1.0", protocol=ProtocolVersion(1, 0)))
    made.ask(0)
    peer.deliver(1, numbered_fragment(3))
    assert made.delivered() == [3.0]


def test_two_runners_have_different_numbers_and_sessions(opened: Make) -> None:
    made = opened(2)
    first, second = RawRunner(made.port), RawRunner(made.port)
    assert first.join().session != second.join().session
    assert [each.heard(session.Assignment)[0].runner for each in (first, second)] == [0, 1]


def test_who_finds_no_seat_is_welcome_and_gets_the_next_free_one(opened: Make) -> None:
    made = opened()
    peer, spare = made.up(), RawRunner(made.port)
    assert spare.join().welcome.refusal is None
    assert not spare.heard(session.Assignment)
    peer.say(session.Goodbye(reason=GoodbyeReason.DONE))
    made.gateway.events(0)
    made.gateway.start(0, incarnation=1)
    assert spare.heard(session.Assignment)[0].incarnation == 1


def test_asks_are_credits_with_the_weights_that_must_act(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.ask(0, 0, 1)
    assert peer.heard(session.Ask) == [session.Ask(1, 0), session.Ask(2, 0), session.Ask(3, 1)]
    assert peer.heard(session.WeightsDelivery) == [session.WeightsDelivery(0), session.WeightsDelivery(1)]
    weights = peer.attachments[peer.messages.index(session.WeightsDelivery(1))]
    assert weights is not None
    assert decode_weights(weights).version == 1


def test_weights_that_are_offered_come_before_the_asks_that_act_with_them(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.gateway.offer(numbered_weights(3))
    made.ask(None)
    made.events()
    assert peer.messages[-2:] == [session.WeightsDelivery(3), session.Ask(1, 3)]


def test_runners_need_not_wait_for_weights_that_take_long(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.gateway.offer(large_weights(3))
    made.ask(None)
    assert peer.heard(session.Ask) == [session.Ask(1, None)]


def test_of_weights_that_wait_for_older_ones_only_the_newest_are_sent(opened: Make) -> None:
    made = opened()
    peer = made.up()
    (pair,) = made.port._pairs
    pair.hold()
    for version in range(4):
        made.gateway.offer(large_weights(version))
    pair.release()
    made.events()
    assert peer.heard(session.WeightsDelivery) == [session.WeightsDelivery(0), session.WeightsDelivery(3)]


def test_small_weights_are_left_out_too_where_a_runner_reads_slowly(opened: Make) -> None:
    made = opened()
    peer = made.up()
    (pair,) = made.port._pairs
    pair.hold()
    tensors = {"w": np.zeros(2**16, np.float32)}
    for version in range(100):
        made.gateway.offer(LocalWeights(replace(numbered_weights(version).load(), tensors=tensors)))
        assert pair.a.num_bytes_to_send <= 1.5 * 2**20
    pair.release()
    made.events()
    came = [delivery.version for delivery in peer.heard(session.WeightsDelivery)]
    assert came == [0, 1, 2, 3, 99]


def test_weights_are_halved_for_those_who_can_read_them(opened: Make) -> None:
    made = opened(2, weights_dtype="bfloat16")
    able = Hello(component="farm", capabilities=frozenset({"bfloat16"}))
    sizes = []
    tensors = {"w": np.ones((64, 64), np.float32)}
    weights = LocalWeights(replace(numbered_weights(0).load(), tensors=tensors))
    for peer in (made.up(hello=able), made.up()):
        made.gateway.offer(weights)
        made.events()
        peer.heard(session.Ask)
        attachment = peer.attachments[-1]
        assert attachment is not None
        sizes.append(attachment.nbytes)
    assert 1.9 < sizes[1] / sizes[0] < 2.1


def test_weights_of_another_module_are_refused(opened: Make) -> None:
    made = opened()
    made.up()
    other = LocalWeights(replace(numbered_weights(0).load(), fingerprint="other"))
    with pytest.raises(ValueError, match="fit the module other, and runners act with numbered"):
        made.gateway.offer(other)


def test_a_fragment_is_acknowledged_when_the_driver_has_it(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.ask(0)
    peer.deliver(1, numbered_fragment(7))
    assert not peer.heard(session.Acknowledgement)
    assert made.delivered() == [7.0]
    assert peer.heard(session.Acknowledgement) == [session.Acknowledgement(1)]


def test_fragments_that_wait_together_to_be_checked_answer_an_ask_each(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.ask(0, 1)
    peer.deliver(1, numbered_fragment(7, version=0))
    peer.deliver(2, numbered_fragment(8, version=1))
    assert made.delivered() == [7.0, 8.0]
    assert peer.heard(session.Acknowledgement) == [session.Acknowledgement(1), session.Acknowledgement(2)]


def test_a_fragment_that_comes_again_over_another_connection_counts_once_and_is_acknowledged_again(
    opened: Make,
) -> None:
    made = opened()
    peer = made.up()
    made.ask(0)
    peer.deliver(1, numbered_fragment(7))
    assert made.delivered() == [7.0]
    peer = made.back(peer, last_ask=1, version=0)
    peer.deliver(1, numbered_fragment(7))
    assert made.delivered() == []
    assert peer.heard(session.Acknowledgement) == [session.Acknowledgement(1)]
    assert made.gateway.admission.num_duplicates == 1
    assert peer.closed_because is None


def test_who_sends_a_fragment_twice_over_one_connection_is_cut_off_and_it_counts_once(opened: Make) -> None:
    made = opened()
    peer = made.up()
    made.ask(0)
    for _ in range(2):
        peer.deliver(1, numbered_fragment(7))
    assert made.delivered() == [7.0]
    sentence = "fragment 1 came after fragment 1 on one connection"
    assert goodbye(peer) == (GoodbyeReason.MISBEHAVED, sentence)
    admission = made.gateway.admission
    assert (admission.num_duplicates, admission.num_cut_off) == (1, 1)
