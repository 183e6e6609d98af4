"""Environments that carry no policy are played from here, and nobody suffers from another's peer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.envrunner.fleet.remote_runners import Left, Lost, Placed, Ready, Sampled
from outrider.envrunner.gateway import act_session
from outrider.testing.acted_peer import LONG_S, NUM_ENVS, PLAN, TERMS, WEIGHTS, Peer, Run, playing
from outrider.testing.connections import ConnectionPair
from outrider.testing.fragments import assert_well_formed
from outrider.wire import (
    Fragment,
    Refusal,
    RefusalReason,
    encode_act_request,
)
from outrider.wire.session import (
    Goodbye,
    GoodbyeReason,
    Step,
)


def local_fragments(index: int, number: int) -> list[Fragment]:
    runner = PLAN.make_runner(index, 0)
    runner.set_weights(WEIGHTS.load())
    return [runner.sample() for _ in range(number)]


def assert_close(one: Fragment, other: Fragment) -> None:
    assert_well_formed(one)
    for name in ("rewards", "terminated", "truncated", "next_rows", "policy_version"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.streams.environment, other.streams.environment)
    np.testing.assert_array_equal(one.streams.lengths, other.streams.lengths)
    np.testing.assert_array_equal(one.actions[""], other.actions[""])
    np.testing.assert_array_equal(one.observations[""], other.observations[""])
    np.testing.assert_array_equal(one.next_observations[""], other.next_observations[""])
    np.testing.assert_allclose(one.action_log_probs, other.action_log_probs, atol=1e-6)


def test_a_peer_is_welcomed_and_seated() -> None:
    run, peer = Run(), Peer()
    with playing(run, peer):
        run.event(Placed)
        assert peer.heard.wait(LONG_S)  # its thread may still be at it
        assert peer.welcome is not None
        assert peer.welcome.terms == replace(TERMS, session_timeout_s=0)
        assert peer.connection.other.terms == peer.welcome.terms  # type: ignore[attr-defined]


def test_its_fragments_are_those_that_a_runner_of_our_own_would_sample() -> None:
    run = Run()
    with playing(run, Peer()):
        for ours in local_fragments(0, 3):
            assert_close(run.sample(), ours)


def test_peers_that_are_played_together_get_what_they_would_get_alone() -> None:
    run = Run(3, delay_s=LONG_S)  # a call that waited for somebody who does not come would take that long
    with playing(run, *[Peer(first_environment=index * NUM_ENVS) for index in range(3)]):
        for fragment in range(2):
            for index in range(3):
                run.seats.ask(index, WEIGHTS)
            for index in range(3):
                theirs = run.event(Sampled, index).fragment.load()
                assert_close(theirs, local_fragments(index, 2)[fragment])


def test_a_peer_with_fewer_copies_samples_as_many_rows_as_others() -> None:
    run = Run()
    with playing(run, Peer(num_envs=3)):
        fragment = run.sample()
    assert fragment.num_rows == PLAN.num_rows
    assert fragment.streams.environment.tolist() == [0, 1, 2]


def test_a_peer_with_too_many_copies_is_refused_in_a_sentence_on_both_sides(
    caplog: pytest.LogCaptureFixture,
) -> None:
    run, peer = Run(), Peer(num_envs=NUM_ENVS + 1)
    with ConnectionPair(run.sessions, peer) as pair:
        peer.join()
        pair.settle()
    assert peer.goodbye is not None
    assert peer.goodbye.reason is GoodbyeReason.REFUSED
    assert f"num_environments={NUM_ENVS + 1}; the run takes 1 to {NUM_ENVS} copies" in peer.goodbye.sentence
    assert any("refused" in line and peer.goodbye.sentence in line for line in caplog.messages)
    assert run.tally.num_refused == 1


def test_a_peer_that_does_not_fit_the_run_is_told_why() -> None:
    refusal = Refusal(reason=RefusalReason.ENVIRONMENT, sentence="it has another environment")
    run, peer = Run(refusal=refusal), Peer()
    with ConnectionPair(run.sessions, peer) as pair:
        peer.join()
        pair.settle()
        assert peer.welcome is not None
        assert peer.welcome.welcome.refusal == refusal
        assert peer.is_closed


def test_a_peer_that_misbehaves_is_sent_away_and_the_others_go_on() -> None:
    nan = {"": np.full((NUM_ENVS, 3), np.nan, np.float32)}

    def spoil(step: Step) -> Step:
        return step if step.sequence < 5 else replace(step, observations=nan)

    run, liar = Run(2), Peer(spoil=spoil)
    with playing(run, liar, Peer(first_environment=NUM_ENVS)) as pairs:
        run.seats.ask(0, WEIGHTS)
        assert_close(run.sample(1), local_fragments(1, 1)[0])
        assert "step 5 is not valid: observations holds NaN" in run.event(Lost, 0).reason
        pairs[0].settle()
    assert liar.goodbye is not None
    assert liar.goodbye.reason is GoodbyeReason.MISBEHAVED
    assert "observations must be finite numbers" in liar.goodbye.sentence
    assert run.tally.num_cut_off == 1


def test_a_peer_whose_connection_breaks_in_a_fragment_is_lost_and_the_others_go_on() -> None:
    run = Run(2, delay_s=0.001)
    silent = Peer(spoil=lambda step: step if step.sequence < 5 else None)
    with playing(run, silent, Peer(first_environment=NUM_ENVS)) as pairs:
        run.seats.ask(0, WEIGHTS)
        run.seats.ask(1, WEIGHTS)
        pairs[0].cut("the connection broke")
        assert run.event(Lost, 0).reason == "the connection broke"
        assert_close(run.event(Sampled, 1).fragment.load(), local_fragments(1, 1)[0])


def test_a_peer_that_goes_while_nothing_is_asked_of_it_is_noticed() -> None:
    run = Run()
    with playing(run, Peer()) as (pair,):
        pair.cut("the connection broke")
        assert run.event(Lost).reason == "the connection broke"


def test_a_peer_that_says_goodbye_has_left() -> None:
    run, peer = Run(), Peer()
    with playing(run, peer) as (pair,):
        run.sample()
        goodbye = Goodbye(reason=GoodbyeReason.DONE, sentence="the simulator is needed elsewhere")
        peer.connection.send(encode_act_request(goodbye))
        run.event(Left)
        pair.settle()
        assert peer.is_closed


def test_a_peer_that_comes_when_all_seats_are_taken_plays_when_one_is_free() -> None:
    run, first, second = Run(), Peer(), Peer()
    with playing(run, first) as (pair,), ConnectionPair(run.sessions, second):
        second.join()
        pair.cut()
        run.event(Lost)
        run.seats.start(0, 1)
        run.event(Ready)
        assert_well_formed(run.sample())


def test_a_peer_whose_seat_is_given_up_is_told_so() -> None:
    run, peer = Run(), Peer()
    with playing(run, peer) as (pair,):
        run.seats.stop(0)
        pair.settle()
    assert peer.goodbye is not None
    assert peer.goodbye.reason is GoodbyeReason.LATER


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        (lambda peer: [peer.first_step()], "a step came before join"),
        (lambda peer: [], "join came twice"),
    ],
)
def test_messages_out_of_order_are_refused(messages: Callable[[Peer], list[Any]], sentence: str) -> None:
    run, peer = Run(), Peer()
    with ConnectionPair(run.sessions, peer) as pair:
        for message in messages(peer):
            peer.connection.send(encode_act_request(message))
        peer.join()
        peer.join()
        pair.settle()
    assert peer.goodbye is not None
    assert peer.goodbye.reason is GoodbyeReason.MISBEHAVED
    assert sentence in peer.goodbye.sentence
    assert run.tally.num_cut_off == 1


def test_who_does_not_say_join_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    run, peer = Run(), Peer()
    with ConnectionPair(run.sessions, peer) as pair:
        run.sessions.tend()
        pair.settle()
        assert peer.goodbye is None
        monkeypatch.setattr(act_session, "_JOIN_S", 0.0)
        run.sessions.tend()
        pair.settle()
    assert peer.goodbye is not None
    assert "did not say join" in peer.goodbye.sentence


def test_who_is_cut_off_by_its_connection_is_counted() -> None:
    run, peer = Run(), Peer()
    with playing(run, peer) as (pair,):
        pair.cut_off("more than 5 messages/s came")
        assert "more than 5 messages/s came" in run.event(Lost).reason
    assert run.tally.num_cut_off == 1


def test_a_step_that_nobody_waits_for_ends_the_stream() -> None:
    run, peer = Run(), Peer()
    with playing(run, peer) as (pair,):
        pair.settle()  # its first step has come
        peer.connection.send(encode_act_request(replace(peer.first_step(), sequence=9)))
        assert "it was cut off: step 9 came and none is due" in run.event(Lost).reason


def test_a_runner_goes_on_from_a_state() -> None:
    run, other = Run(), Run()
    with playing(run, Peer()), playing(other, Peer()):
        run.sample()
        state = run.seats.occupant(0).get_state(LONG_S)
        other.seats.occupant(0).set_state(state, LONG_S)
        assert other.seats.occupant(0).get_state(LONG_S)["sampler"] == state["sampler"]
        assert_well_formed(other.sample())
