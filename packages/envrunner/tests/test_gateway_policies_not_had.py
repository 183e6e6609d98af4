"""Runners of a gateway want policies that are slow to come, gone, or none that they may ask for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from outrider.testing.asked_gateway import DEADLINE_S, PLAN, Scene, answered, parting, until, wants, weights
from outrider.transport import WeightsReference
from outrider.wire import Weights, encode_fragment, session
from outrider.wire.session import GoodbyeReason


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


@dataclass(frozen=True, slots=True, weakref_slot=True)
class SlowWeights:
    """Weights that are there when a test lets them."""

    weights: WeightsReference
    is_there: threading.Event

    @property
    def version(self) -> int:
        return self.weights.version

    def load(self) -> Weights:
        assert self.is_there.wait(DEADLINE_S)
        return self.weights.load()


def test_the_network_goes_on_while_weights_are_loaded(scene: Scene) -> None:
    peer, slow = scene.up(), SlowWeights(weights(0), threading.Event())
    slow.is_there.set()
    scene.gateway.ask(0, slow)
    slow.is_there.clear()
    peer.say(wants(1, 2))
    peer.say(session.StateDelivery(7, ""))  # breaks a rule, and is noticed meanwhile
    assert "it answers state request 7" in parting(peer)
    slow.is_there.set()


@pytest.mark.parametrize("error", [ConnectionError, RuntimeError])
def test_weights_that_are_gone_part_the_runner_which_may_come_again(
    scene: Scene, error: type[Exception]
) -> None:
    class Gone(SlowWeights):
        def load(self) -> Weights:
            if self.is_there.is_set():
                raise error("their node is gone")
            return self.weights.load()

    peer, gone = scene.up(), Gone(weights(0), threading.Event())
    scene.gateway.ask(0, gone)
    gone.is_there.set()
    peer.say(wants(1, 2))
    (said,) = until(lambda: peer.heard(session.Goodbye))
    assert said.reason is GoodbyeReason.LATER
    assert "policies that it plays cannot be had: their node is gone" in said.sentence
    scene.gateway.events(0)
    again = scene.up()
    scene.gateway.ask(0, weights(1))
    again.say(wants(1, 2))
    assert answered(again)[0][1] == {2: 1}


def test_an_answer_that_fails_after_the_runner_dialled_again_does_not_part_it(scene: Scene) -> None:
    class GoneOnce(SlowWeights):
        is_gone = True

        def load(self) -> Weights:
            loaded = super().load()
            if threading.current_thread().name == "outrider-policies" and GoneOnce.is_gone:
                GoneOnce.is_gone = False
                raise ConnectionError("their node is gone")
            return loaded

    peer, gone = scene.up(), GoneOnce(weights(0), threading.Event())
    gone.is_there.set()
    scene.gateway.ask(0, gone)
    gone.is_there.clear()
    peer.say(wants(1, 2))
    key = peer.heard(session.SessionWelcome)[-1].session
    scene.port.cut()
    again = scene.up(session=key, last_ask=1, weights_version=0)
    again.say(wants(1, 2))
    gone.is_there.set()
    assert answered(again)[0][1] == {2: 0}
    assert not again.heard(session.Goodbye)


@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        (wants(1, 12), "it wants policy 12, which the run does not have"),
        (wants(1, *range(5)), "it wants 5 policies at once, and max_policies_per_env_runner lets it hold 4"),
        (wants(2, 1), "it wants policies 2 where 1 is the next"),
    ],
)
def test_who_wants_what_makes_no_sense_is_cut_off(
    scene: Scene, says: session.PoliciesWanted, sentence: str
) -> None:
    peer = scene.up()
    scene.gateway.ask(0, weights(0))
    peer.say(says)
    assert sentence in parting(peer)


@pytest.mark.parametrize("second", [1, 2])
def test_who_wants_policies_again_before_it_was_answered_is_cut_off(scene: Scene, second: int) -> None:
    peer, slow = scene.up(), SlowWeights(weights(0), threading.Event())
    slow.is_there.set()
    scene.gateway.ask(0, slow)
    slow.is_there.clear()
    peer.say(wants(1, 2))
    peer.say(wants(second, 2))
    assert f"it wants policies {second} before it was sent those of request 1" in parting(peer)
    slow.is_there.set()


def test_who_wants_what_it_was_sent_over_this_connection_is_cut_off(scene: Scene) -> None:
    peer = scene.up()
    scene.gateway.ask(0, weights(0))
    peer.say(wants(1, 2))
    answered(peer)
    peer.say(wants(1, 2))
    assert "it wants policies 1 where 2 is the next" in parting(peer)


def test_who_wants_policies_before_there_are_weights_is_cut_off(scene: Scene) -> None:
    peer = scene.up()
    peer.say(wants(1, 2))
    assert "it wants policies and was not sent any weights yet" in parting(peer)


def test_who_says_that_it_began_with_weights_that_nobody_sent_is_cut_off(scene: Scene) -> None:
    peer = scene.up()
    scene.gateway.ask(0, weights(0))
    runner = PLAN.make_runner(0, 0)
    runner.set_weights(weights(0).load())
    peer.say(session.FragmentDelivery(1, weights_version=1), encode_fragment(runner.sample()).pieces())
    scene.gateway.events(0)
    assert "it began with weights version 1, and 0 is the newest it may have" in parting(peer)
