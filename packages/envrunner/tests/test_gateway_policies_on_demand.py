"""Runners of a gateway ask for the policies that play, and are sent what changes of those that they hold."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest

from outrider.envrunner import AsyncRunnerFleet, RunnerFleet
from outrider.envrunner.fleet.pool import LocalRunnerPool
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.some_policies import of_policies
from outrider.testing.asked_gateway import (
    DEADLINE_S,
    PLAN,
    Scene,
    answered,
    came,
    parting,
    plan_of,
    until,
    wants,
    weights,
)
from outrider.testing.dialled_gateway import MemoryPort
from outrider.testing.duel import duel_weights
from outrider.testing.fragments import assert_same_fragment
from outrider.testing.stacked_mlp_graph import stacked_mlp_log_probs
from outrider.transport import LocalWeights
from outrider.wire import Fragment, PolicyGraph, all_parts, encode_fragment, session


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


@contextmanager
def connections_that_break(port: MemoryPort, draw: random.Random) -> Iterator[None]:
    """Break all connections, again and again."""
    is_over = threading.Event()

    def cut() -> None:
        while not is_over.wait(draw.uniform(0.0, 0.02)):
            port.cut()

    thread = threading.Thread(target=cut, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(10)


def test_a_runner_samples_what_one_with_everything_samples_however_often_its_connection_breaks(
    scene: Scene,
) -> None:
    scene.peer()
    fleet = RunnerFleet(scene.gateway, scene.settings, num_steps=PLAN.num_steps)
    here, draw = LocalRunnerPool(PLAN.make_runner(0, 0)), random.Random(3)
    changed: dict[int, int] = {}
    fleet.sample(weights(0))
    here.sample(weights(0))
    with connections_that_break(scene.port, draw):
        for version in range(1, 25):
            changed |= dict.fromkeys(draw.sample(range(10), 4), version)
            newest = weights(version, changed)
            (there,) = fleet.sample(newest)
            assert_same_fragment(there.load(), here.sample(newest)[0].load())
    assert fleet.statistics().num_lost_rows == 0
    assert scene.gateway.admission.num_cut_off == 0


def test_runners_that_never_wait_play_with_all(scene: Scene) -> None:
    scene.peer()
    fleet = AsyncRunnerFleet(scene.gateway, scene.settings, num_steps=PLAN.num_steps)
    played: set[int] = set()
    version = 0
    while played != set(range(10)):
        assert version < 500
        fleet.offer(weights(version))
        version += 1
        for reference in fleet.collect(at_most=2, timeout_s=DEADLINE_S):
            for part in all_parts(reference.load()):
                played |= set(part.streams.policy.tolist())
                assert_acted_with_what_it_says(part)
    assert scene.gateway.admission.num_cut_off == 0


def assert_acted_with_what_it_says(part: Fragment) -> None:
    (graph,) = (
        stack.policy
        for stack in PLAN.stacks
        if stack.name == ("reds" if part.streams.policy[:1].tolist() == [0] else "blues")
    )
    assert isinstance(graph, PolicyGraph)
    np.testing.assert_allclose(part.action_log_probs, stacked_mlp_log_probs(graph, part), atol=1e-5)


def test_who_fetched_newer_policies_is_sent_what_changed_of_the_others_since_it_began(scene: Scene) -> None:
    peer = scene.up()
    scene.gateway.offer(weights(0))
    scene.gateway.ask(0, None)
    peer.say(wants(1, 9))
    answered(peer)
    scene.gateway.offer(weights(1, {9: 1}))
    runner = PLAN.make_runner(0, 0, lambda wanted, _: of_policies(weights(1, {9: 1}).load(), wanted))
    runner.set_weights(of_policies(weights(0).load(), np.array([9], np.int32)))
    fragment = runner.sample()
    assert max(part.policy_version.max() for part in all_parts(fragment)) == 1
    peer.say(session.FragmentDelivery(1, weights_version=0), encode_fragment(fragment).pieces())
    scene.gateway.events(0)
    assert peer.heard(session.Acknowledgement) == [session.Acknowledgement(1)]
    scene.gateway.offer(weights(2, {9: 1}))
    assert came(peer, session.WeightsDelivery)[-1] == (session.WeightsDelivery(2), {9: 1})


def test_who_asks_for_policies_must_say_with_which_weights_its_fragments_began(scene: Scene) -> None:
    peer = scene.up()
    scene.gateway.ask(0, weights(0))
    peer.say(wants(1, 0))
    answered(peer)
    peer.say(session.FragmentDelivery(1), [b"whatever"])
    assert "fragment 1 does not say with which weights it began" in parting(peer)
    assert scene.gateway.admission.num_cut_off == 1


def test_who_cannot_ask_for_policies_need_not_say_it() -> None:
    plan = plan_of(num_blues=3)
    scene = Scene(plan)
    with closing(scene):
        peer = scene.up(frozenset({"multi_agent"}))
        scene.gateway.ask(0, LocalWeights(duel_weights(plan, version=0)))
        runner = plan.make_runner(0, 0)
        runner.set_weights(duel_weights(plan, version=0))
        peer.say(session.FragmentDelivery(1), encode_fragment(runner.sample()).pieces())
        scene.gateway.events(0)
        assert peer.heard(session.Acknowledgement) == [session.Acknowledgement(1)]


def test_a_runner_is_sent_nothing_that_it_did_not_ask_for(scene: Scene) -> None:
    peer = scene.up()
    scene.gateway.ask(0, weights(0))
    assert came(peer, session.WeightsDelivery) == [(session.WeightsDelivery(0), {})]


def test_it_gets_what_it_asks_for_and_then_what_changes_of_that(scene: Scene) -> None:
    peer = scene.up()
    scene.gateway.ask(0, weights(0))
    peer.say(wants(1, 0, 3, 5))
    assert answered(peer) == [(session.PoliciesDelivery(1), {0: 0, 3: 0, 5: 0})]
    peer.say(wants(2, 7, dropped=(3,)))
    assert answered(peer, 2)[1] == (session.PoliciesDelivery(2), {7: 0})
    scene.gateway.offer(weights(1, {0: 1, 3: 1, 4: 1, 7: 1}))
    assert came(peer, session.WeightsDelivery)[-1][1] == {0: 1, 5: 0, 7: 1}  # nobody knows what it acted with


def test_what_it_asks_for_is_of_the_version_that_its_ask_demands(scene: Scene) -> None:
    peer = scene.up()
    scene.gateway.ask(0, weights(4))
    scene.gateway.offer(weights(5))
    peer.say(wants(1, 2))
    assert answered(peer)[0][1] == {2: 4}


def test_where_its_ask_demands_none_the_newest_that_it_was_sent_comes(scene: Scene) -> None:
    peer = scene.up()
    scene.gateway.offer(weights(4))
    scene.gateway.ask(0, None)
    scene.gateway.offer(weights(5))
    peer.say(wants(1, 2))
    assert answered(peer)[0][1] == {2: 5}


def test_who_plays_a_policy_that_is_gone_gets_it_until_it_has_heard_of_that(scene: Scene) -> None:
    fleet = AsyncRunnerFleet(scene.gateway, scene.settings, num_steps=PLAN.num_steps)
    fleet.offer(weights(0))
    fleet.collect(at_most=1, timeout_s=0)  # opens the seat
    peer = scene.up(last_ask=0)
    peer.say(session.Ready())
    until(lambda: fleet.collect(at_most=1, timeout_s=0) or peer.heard(session.Ask))
    left = plan_of(num_blues=8)
    fleet.recast(
        Cast(stacks={"reds": "reds", "blues": "blues"}, policies=left.policies, mapping=left.mapping)
    )
    fleet.offer(LocalWeights(of_policies(weights(1).load(), np.arange(9, dtype=np.int32))))
    peer.say(wants(1, 9))
    assert answered(peer)[0][1] == {9: 0}
    peer.say(session.StateDelivery(1))
    peer.say(wants(2, 8))
    assert answered(peer, 2)[1][1] == {8: 1}


def test_a_request_that_is_said_again_over_another_connection_is_answered_there(scene: Scene) -> None:
    peer = scene.up()
    scene.gateway.ask(0, weights(0))
    peer.say(wants(1, 2))
    answered(peer)
    key = peer.heard(session.SessionWelcome)[-1].session
    scene.port.cut()
    again = scene.up(session=key, last_ask=1, weights_version=0)
    again.say(wants(1, 2))
    assert answered(again)[0][1] == {2: 0}


def test_few_policies_are_sent_unasked() -> None:
    few = Scene(plan_of(num_blues=3))
    with closing(few):
        peer = few.up()
        few.gateway.ask(0, LocalWeights(duel_weights(plan_of(num_blues=3), version=0)))
        assert set(came(peer, session.WeightsDelivery)[0][1]) == {0, 1, 2, 3}


def test_a_runner_that_cannot_ask_is_sent_all_that_may_play(scene: Scene) -> None:
    peer = scene.up(frozenset({"multi_agent"}))
    scene.gateway.ask(0, weights(0))
    assert set(came(peer, session.WeightsDelivery)[0][1]) == set(range(10))
    peer.say(wants(1, 2))
    assert "lacks 'policies_on_demand'" in parting(peer)
