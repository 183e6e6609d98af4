"""Fleets over a gateway whose peers have several agents: the same numbers, other policies, and liars."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.envrunner import AsyncRunnerFleet, EnvironmentSettings, EnvRunnerSettings, RunnerFleet
from outrider.envrunner.agents.agent_slots import wire_agents
from outrider.envrunner.agents.multi_agent_environment import multi_agent_spaces
from outrider.envrunner.farm.assigned_runner import FarmEnvironment
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.fleet.pool import LocalRunnerPool
from outrider.envrunner.fleet.remote_runners import Lost, Sampled
from outrider.envrunner.gateway.gateway import ACT, Gateway
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.testing.dialled_gateway import FarmPeer, MemoryPort
from outrider.testing.duel import Duel, duel_plan, duel_weights
from outrider.testing.fragments import assert_same_fragment
from outrider.testing.raw_runner import RawRunner
from outrider.testing.stacked_mlp_graph import stacked_mlp_graph, stacked_mlp_weights
from outrider.transport import LocalWeights
from outrider.transport.connection import Connection
from outrider.transport.security import ServerSecurity
from outrider.wire import (
    Fragment,
    Hello,
    PolicyGraph,
    all_parts,
    decode_act_response,
    decode_tree,
    decode_weights,
)
from outrider.wire.session import (
    Acknowledgement,
    Ask,
    Assignment,
    Goodbye,
    GoodbyeReason,
    Ready,
    SessionWelcome,
    StateDelivery,
    StateRequest,
    WeightsDelivery,
)

FARM = FarmEnvironment(environment=EnvironmentSettings(Duel))
PLAN = duel_plan()
THREE = Cast(
    stacks={"reds": "reds", "blues": "blues"},
    policies=(*PLAN.policies, PolicyEntry(name="newest", number=3, stack="blues")),
    mapping=Matchups([(1.0, {"red": "main", "blue": "newest"})]),
)
FOUR = replace(
    THREE, policies=(*THREE.policies, PolicyEntry(name="one more", number=4, stack="blues")), mapping=None
)
JOIN = FARM.join(Hello(component="a liar", capabilities=frozenset({"multi_agent"})), name="liar")
DEADLINE_S = 20.0


class Scene:
    """A gateway, and peers that dial it."""

    def __init__(self, num_seats: int = 2, plan: MultiAgentPlan = PLAN) -> None:
        self.port = MemoryPort()
        self.settings = replace(plan.settings, num_env_runners=num_seats, min_runners=1)
        self.gateway = Gateway(
            plan,
            self.settings,
            num_seats=num_seats,
            address="memory",
            security=ServerSecurity(),
            listen=self.port.listen,
        )
        self.peers: list[FarmPeer] = []

    def join(self, farm: FarmEnvironment = FARM) -> FarmPeer:
        self.peers.append(FarmPeer(self.port, farm, name=f"peer {len(self.peers)}"))
        return self.peers[-1]

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


def weights(version: int, more: Sequence[int] = ()) -> LocalWeights:
    return LocalWeights(duel_weights(PLAN, version=version, more=more))


def policies_in(fragments: Sequence[Fragment]) -> set[int]:
    return {
        int(policy)
        for fragment in fragments
        for part in all_parts(fragment)
        for policy in part.streams.policy
    }


def sampled(fleet: RunnerFleet, given: LocalWeights) -> list[Fragment]:
    return [reference.load() for reference in fleet.sample(given)]


def test_runners_of_a_farm_sample_what_runners_here_do(scene: Scene) -> None:
    scene.join()
    scene.join()
    fleet = RunnerFleet(scene.gateway, replace(scene.settings, min_runners=2), num_steps=PLAN.num_steps)
    here = LocalRunnerPool(PLAN.make_runner(0, 0), PLAN.make_runner(1, 0))
    for version in range(3):
        there = sampled(fleet, weights(version))
        for one, other in zip(there, here.sample(weights(version)), strict=True):
            assert_same_fragment(one, other.load())


def test_other_policies_reach_those_who_are_there_and_those_who_come_later(scene: Scene) -> None:
    scene.join()
    fleet = RunnerFleet(scene.gateway, scene.settings, num_steps=PLAN.num_steps)
    assert policies_in(sampled(fleet, weights(0))) <= {0, 1, 2}
    fleet.recast(THREE)
    for version in (1, 2, 3):  # episodes under way end as they began
        sampled(fleet, weights(version, more=[3]))
    scene.join()
    deadline, version = time.monotonic() + DEADLINE_S, 3
    while len(fragments := sampled(fleet, weights(version := version + 1, more=[3]))) < 2:
        assert time.monotonic() < deadline
    assert policies_in(fragments) == {0, 3}


def test_a_runner_that_dials_again_still_knows_of_other_policies(scene: Scene) -> None:
    scene.join()
    fleet = RunnerFleet(scene.gateway, scene.settings, num_steps=PLAN.num_steps)
    sampled(fleet, weights(0))
    fleet.recast(THREE)
    for version in (1, 2, 3):
        sampled(fleet, weights(version, more=[3]))
    scene.port.cut()
    assert policies_in(sampled(fleet, weights(4, more=[3]))) == {0, 3}
    assert scene.gateway.admission.num_cut_off == 0
    assert fleet.statistics().num_joined == 1


def test_runners_that_never_wait_are_told_too(scene: Scene) -> None:
    scene.join()
    fleet = AsyncRunnerFleet(scene.gateway, scene.settings, num_steps=PLAN.num_steps)
    fleet.offer(weights(0))
    assert fleet.collect(at_most=2, timeout_s=DEADLINE_S)
    fleet.recast(THREE)
    deadline = time.monotonic() + DEADLINE_S
    fleet.offer(weights(1, more=[3]))
    while policies_in([each.load() for each in fleet.collect(at_most=4, timeout_s=1)]) != {0, 3}:
        assert time.monotonic() < deadline


LIES: dict[str, tuple[Callable[[Fragment], Fragment], str]] = {
    "policy": (
        lambda fragment: _with_streams(fragment, policy=np.full_like(fragment.streams.policy, 9)),
        "policy 9, which the run does not have",
    ),
    "another stack": (
        lambda fragment: replace(
            _with_streams(fragment, policy=np.full_like(fragment.streams.policy, 1)), others=()
        ),
        "observations",
    ),
    "agent": (
        lambda fragment: _with_streams(fragment, agent=np.full_like(fragment.streams.agent, 2)),
        "agents 2 to 2, and there are 2",
    ),
    "copy": (
        lambda fragment: _with_streams(fragment, environment=np.full_like(fragment.streams.environment, 2)),
        "environment copies 2 to 2",
    ),
    "rewards": (
        lambda fragment: replace(fragment, rewards=np.full_like(fragment.rewards, np.nan)),
        "rewards are NaN",
    ),
    "rewards of others": (
        lambda fragment: replace(
            fragment,
            others=tuple(
                replace(each, rewards=np.full_like(each.rewards, np.inf)) for each in fragment.others
            ),
        ),
        "rewards are",
    ),
    "returns": (
        lambda fragment: replace(
            fragment,
            episodes=replace(
                fragment.episodes,
                agents=fragment.episodes.agents
                and replace(
                    fragment.episodes.agents,
                    returns=np.full_like(fragment.episodes.agents.returns, np.nan),
                ),
            ),
        ),
        "the returns of agents",
    ),
    "no others": (
        lambda fragment: replace(fragment, episodes=replace(fragment.episodes, agents=None)),
        "no episodes",
    ),
}


def _with_streams(fragment: Fragment, **columns: Any) -> Fragment:
    return replace(fragment, streams=replace(fragment.streams, **columns))


@pytest.mark.parametrize(("lie", "sentence"), LIES.values(), ids=LIES)
def test_who_lies_is_cut_off(scene: Scene, lie: Callable[[Fragment], Fragment], sentence: str) -> None:
    fragment, liar = honest_fragment(scene)
    liar.deliver(1, lie(fragment))
    assert not [event for event in scene.gateway.events(0.0) if isinstance(event, Sampled)]
    (goodbye,) = liar.heard(Goodbye)
    assert goodbye.reason is GoodbyeReason.MISBEHAVED
    assert sentence in goodbye.sentence
    assert scene.gateway.admission.num_cut_off == 1


def test_who_does_not_lie_is_thanked(scene: Scene) -> None:
    fragment, peer = honest_fragment(scene)
    peer.deliver(1, fragment)
    assert [event for event in scene.gateway.events(0.0) if isinstance(event, Sampled)]
    assert peer.heard(Acknowledgement) == [Acknowledgement(1)]


def honest_fragment(scene: Scene) -> tuple[Fragment, RawRunner]:
    """Return what a peer that was asked for its first fragment would hand in."""
    scene.gateway.start(0, incarnation=0)
    peer = RawRunner(scene.port)
    peer.say(JOIN)
    peer.say(Ready())
    scene.gateway.events(0.0)
    scene.gateway.ask(0, weights(0))
    (assignment,) = peer.heard(Assignment)
    runner = FARM.make_runner(assignment, attached(peer, Assignment))
    runner.set_weights(decode_weights(attached(peer, WeightsDelivery)))
    return runner.sample(), peer


def attached(peer: RawRunner, kind: type) -> memoryview:
    """Return what came with the first message of a kind."""
    return next(
        attachment
        for message, attachment in zip(peer.messages, peer.attachments, strict=True)
        if isinstance(message, kind) and attachment is not None
    )


def test_critic_states_are_as_large_as_asked_for() -> None:
    plan = duel_plan(has_central_critic=True)
    scene = Scene(plan=plan)
    fragment, liar = honest_fragment(scene)
    liar.deliver(1, replace(fragment, critic_states={"": fragment.critic_states[""][:, 1:]}))
    scene.gateway.events(0.0)
    assert "critic states '' have shape (6,) each and should have (7,)" in liar.heard(Goodbye)[0].sentence
    scene.close()


class Environment:
    """Notes what it hears. A `Receiver`."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def opened(self, connection: Connection) -> None:
        """Wait."""

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        """Note it."""
        self.heard.append(decode_act_response(head))

    def closed(self, connection: Connection, reason: str) -> None:
        """Know already."""


def test_environments_without_a_policy_are_sent_away_in_a_sentence(scene: Scene) -> None:
    environment = Environment()
    scene.port.dial(environment, ACT)
    scene.port.settle()
    welcome, goodbye = environment.heard
    assert isinstance(welcome, SessionWelcome)
    assert isinstance(goodbye, Goodbye)
    assert welcome.welcome.refusal is not None
    assert "several agents, and acts for environments of one agent only" in goodbye.sentence
    assert scene.gateway.admission.num_refused == 1


def test_nobody_waits_for_a_runner_to_hear_of_other_policies(scene: Scene) -> None:
    _, peer = honest_fragment(scene)
    recast(scene, THREE, FOUR)
    scene.gateway.ask(0, weights(1, more=[3]))
    assert len(peer.heard(WeightsDelivery)) == 1  # it would forget others
    peer.say(StateDelivery(1))
    assert len(peer.heard(WeightsDelivery)) == 1
    peer.say(StateDelivery(2))
    assert peer.heard(WeightsDelivery)[1:] == [WeightsDelivery(0), WeightsDelivery(1)]
    assert [ask.weights_version for ask in peer.heard(Ask)] == [0, 1]


def test_of_policies_that_change_often_a_slow_runner_hears_the_newest_once_it_has_heard_the_last(
    scene: Scene,
) -> None:
    _, peer = honest_fragment(scene)
    recast(scene, THREE, *[FOUR, THREE] * 50, FOUR)
    assert told(peer) == [4]
    peer.say(StateDelivery(1))
    assert told(peer) == [4, 5]
    recast(scene, THREE)
    assert told(peer) == [4, 5]
    peer.say(StateDelivery(2))
    assert told(peer) == [4, 5, 4]
    assert peer.heard(StateRequest) == [StateRequest(1), StateRequest(2), StateRequest(3)]


def test_who_comes_back_hears_of_the_newest_policies_alone(scene: Scene) -> None:
    _, peer = honest_fragment(scene)
    recast(scene, THREE, FOUR)
    scene.port.cut()
    again = RawRunner(scene.port)
    again.say(replace(JOIN, session=peer.heard(SessionWelcome)[0].session, last_ask=1, weights_version=0))
    assert told(again) == [5]
    again.say(StateDelivery(1))  # to what it heard over the connection that broke
    assert not again.heard(WeightsDelivery)
    again.say(StateDelivery(2))
    assert again.heard(WeightsDelivery) == [WeightsDelivery(0)]


def recast(scene: Scene, *casts: Cast) -> None:
    """Let the first runner play with these policies, one after the other."""
    for cast in casts:
        scene.gateway.check_cast(cast)
        scene.gateway.recast(0, cast, 0.0)


def told(peer: RawRunner) -> list[int]:
    """Return of how many policies a runner was told, each time."""
    peer.heard(StateRequest)
    return [
        len(decode_tree(attachment)["cast"]["policies"])
        for message, attachment in zip(peer.messages, peer.attachments, strict=True)
        if isinstance(message, StateRequest) and attachment is not None
    ]


def test_who_comes_back_hears_again_of_other_policies(scene: Scene) -> None:
    _, peer = honest_fragment(scene)
    scene.gateway.check_cast(THREE)
    scene.port.cut()
    scene.gateway.recast(0, THREE, 0.0)
    again = RawRunner(scene.port)
    again.say(replace(JOIN, session=peer.heard(SessionWelcome)[0].session, last_ask=1, weights_version=0))
    assert again.heard(StateRequest) == [StateRequest(1)]
    assert not again.heard(WeightsDelivery)
    again.say(StateDelivery(1))
    assert again.heard(WeightsDelivery) == [WeightsDelivery(0)]


def test_a_runner_that_cannot_play_with_other_policies_is_lost(scene: Scene) -> None:
    _, peer = honest_fragment(scene)
    scene.gateway.check_cast(THREE)
    scene.gateway.recast(0, THREE, 0.0)
    peer.say(StateDelivery(1, "the plan has no stack 'greens'"))
    (event,) = scene.gateway.events(0.0)
    assert isinstance(event, Lost)
    assert "it could not be told of other policies: the plan has no stack 'greens'" in event.reason


def test_a_state_is_asked_for_once_a_runner_has_heard_of_other_policies(scene: Scene) -> None:
    _, peer = honest_fragment(scene)
    scene.gateway.check_cast(THREE)
    scene.gateway.recast(0, THREE, 0.0)
    with pytest.raises(TimeoutError):
        scene.gateway.get_state(0, 0.01)
    assert peer.heard(StateRequest) == [StateRequest(1)]


def test_episodes_under_way_in_a_state_go_on_where_its_matchups_are_over() -> None:
    cartpole = EnvironmentSettings("CartPole-v1")
    graph = poles_of({}).stacks[0].policy
    assert isinstance(graph, PolicyGraph)
    given = LocalWeights(stacked_mlp_weights(graph, "mlp", [0, 1]))
    states, played = [], []
    for names in ({"0": "a", "1": "a"}, {"0": "b", "1": "b"}):
        scene = Scene(num_seats=1, plan=poles_of(names))
        scene.join(FarmEnvironment(environment=cartpole))
        fleet = RunnerFleet(scene.gateway, scene.settings, num_steps=2)
        for state in states:
            fleet.set_state(state)
        played.append(policies_in(sampled(fleet, given)))
        states.append(fleet.get_state())
        assert scene.gateway.admission.num_cut_off == 0
        scene.close()
    assert played == [{0}, {0}]


def poles_of(names: dict[str, str]) -> MultiAgentPlan:
    """Return a plan for two agents with a pole each, and two policies of one stack."""
    environment = EnvironmentSettings("CartPole-v1")
    settings = EnvRunnerSettings(num_envs_per_env_runner=1, runner_start_timeout_s=DEADLINE_S)
    agents = wire_agents(*multi_agent_spaces(environment, settings, 2))
    (group,) = agents.groups
    graph = stacked_mlp_graph(group.observation_space, group.action_space, num_hidden=4)
    return MultiAgentPlan(
        environment=environment,
        settings=settings,
        agents=agents.names,
        num_agents=2,
        stacks=(StackPlan(name="mlp", policy=graph),),
        policies=tuple(PolicyEntry(name=name, number=at, stack="mlp") for at, name in enumerate("ab")),
        mapping=Matchups([(1.0, names or {"0": "a", "1": "a"})]),
        num_steps=2,
        seed=7,
        environment_agents=agents,
    )
