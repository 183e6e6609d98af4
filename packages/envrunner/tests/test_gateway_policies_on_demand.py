"""Runners of a gateway ask for the policies that play, and are sent what changes of those that they hold."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from outrider.envrunner import AsyncRunnerFleet, EnvironmentSettings, EnvRunnerSettings, RunnerFleet
from outrider.envrunner.farm.assigned_runner import FarmEnvironment
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
from outrider.envrunner.fleet.pool import LocalRunnerPool
from outrider.envrunner.gateway.gateway import Gateway
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.some_policies import of_policies
from outrider.envrunner.policies.weights_selection import ON_DEMAND
from outrider.testing.dialled_gateway import FarmPeer, MemoryPort
from outrider.testing.duel import Duel, duel_plan, duel_weights
from outrider.testing.fragments import assert_same_fragment
from outrider.testing.raw_runner import RawRunner
from outrider.testing.stacked_mlp_graph import stacked_mlp_log_probs
from outrider.transport import LocalWeights, WeightsReference
from outrider.transport.security import ServerSecurity
from outrider.wire import (
    Fragment,
    Hello,
    PolicyGraph,
    Weights,
    all_parts,
    decode_weights,
    encode_fragment,
    session,
)
from outrider.wire.session import GoodbyeReason

FARM = FarmEnvironment(environment=EnvironmentSettings(Duel))
DEADLINE_S = 20.0
HELD = 4


def plan_of(num_blues: int = 9) -> MultiAgentPlan:
    """Let red meet another blue in each episode: of more than four policies a runner holds four."""
    blues = [
        PolicyEntry(name=f"blue {number}", number=number, stack="blues") for number in range(1, num_blues + 1)
    ]
    return duel_plan(
        settings=EnvRunnerSettings(num_envs_per_env_runner=2, max_policies_per_env_runner=HELD),
        policies=(PolicyEntry(name="main", number=0, stack="reds"), *blues),
        mapping=Matchups([(1.0, {"red": "main", "blue": blue.name}) for blue in blues]),
    )


PLAN = plan_of()


def weights(version: int, changed: dict[int, int] | None = None) -> LocalWeights:
    """Return the weights of all policies; those that are not said to have changed are of version 0."""
    changed = dict.fromkeys(range(10), version) if changed is None else changed
    parts = {at: duel_weights(PLAN, version=at) for at in {0, *changed.values()}}
    newest, stacks = parts[0], []
    tensors = {name: tensor.copy() for name, tensor in newest.tensors.items()}
    for stack in newest.stacks:
        versions = stack.versions.copy()
        for place, number in enumerate(stack.policies.tolist()):
            versions[place] = changed.get(number, 0)
            for name, tensor in tensors.items():
                if name.startswith(f"{stack.name}/"):
                    tensor[place] = parts[changed.get(number, 0)].tensors[name][place]
        stacks.append(replace(stack, versions=versions))
    return LocalWeights(replace(newest, version=version, tensors=tensors, stacks=tuple(stacks)))


class Scene:
    """A gateway, and who dials it."""

    def __init__(self, plan: MultiAgentPlan = PLAN) -> None:
        self.port = MemoryPort()
        self.settings = replace(plan.settings, num_env_runners=1, min_runners=1)
        self.gateway = Gateway(
            plan,
            self.settings,
            num_seats=1,
            address="memory",
            security=ServerSecurity(),
            listen=self.port.listen,
        )
        self.peers: list[FarmPeer] = []

    def peer(self) -> FarmPeer:
        self.peers.append(FarmPeer(self.port, FARM))
        return self.peers[-1]

    def up(
        self, capabilities: frozenset[str] = frozenset({"multi_agent", ON_DEMAND}), **join: Any
    ) -> RawRunner:
        """Return a runner that says only what a test wants, and is ready."""
        hello = Hello(component="a test", capabilities=capabilities)
        peer = RawRunner(self.port)
        peer.say(replace(FARM.join(hello, name="raw"), **join))
        if not join:
            self.gateway.start(0, incarnation=0)
            peer.say(session.Ready())
            self.gateway.events(0)
        return peer

    def close(self) -> None:
        self.gateway.close()
        for peer in self.peers:
            peer.thread.join(10)
            assert not peer.thread.is_alive()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


def wants(request: int, *policies: int, dropped: tuple[int, ...] = ()) -> session.PoliciesWanted:
    return session.PoliciesWanted(request=request, policies=policies, dropped=dropped)


def came(peer: RawRunner, kind: type[Any]) -> list[tuple[Any, dict[int, int]]]:
    """Return the messages of a kind, each with the versions of the policies that were attached."""
    peer.heard(kind)
    found = []
    for message, attachment in zip(peer.messages, peer.attachments, strict=True):
        if isinstance(message, kind):
            assert attachment is not None
            found.append((message, versions_of(decode_weights(attachment))))
    return found


def versions_of(weights: Weights) -> dict[int, int]:
    return {
        int(number): int(version)
        for stack in weights.stacks
        for number, version in zip(stack.policies, stack.versions, strict=True)
    }


def answered(peer: RawRunner, num_answers: int = 1) -> list[tuple[Any, dict[int, int]]]:
    """Wait for so many answers, which come from a thread of their own."""
    until(lambda: len(peer.heard(session.PoliciesDelivery)) >= num_answers)
    return came(peer, session.PoliciesDelivery)


def until(look: Callable[[], Any]) -> Any:
    """Return what a look sees, once that is something."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return found


def parting(peer: RawRunner) -> str:
    (said,) = peer.heard(session.Goodbye)
    assert said.reason is GoodbyeReason.MISBEHAVED
    return said.sentence


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


def test_who_says_that_it_began_with_weights_that_nobody_sent_is_cut_off(scene: Scene) -> None:
    peer = scene.up()
    scene.gateway.ask(0, weights(0))
    runner = PLAN.make_runner(0, 0)
    runner.set_weights(weights(0).load())
    peer.say(session.FragmentDelivery(1, weights_version=1), encode_fragment(runner.sample()).pieces())
    scene.gateway.events(0)
    assert "it began with weights version 1, and 0 is the newest it may have" in parting(peer)


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
