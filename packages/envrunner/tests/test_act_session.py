"""Environments that carry no policy are played from here, and nobody suffers from another's peer."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.environments.spaces import column_reader, space_from_gymnasium
from outrider.envrunner.environments.sync_vector import SyncVector
from outrider.envrunner.environments.vector_environment import environment_seed
from outrider.envrunner.fleet.remote_runners import Left, Lost, Placed, Ready, RunnerEvent, Sampled
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.gateway import act_session
from outrider.envrunner.gateway.act_session import ActSessions
from outrider.envrunner.gateway.peer_log import Tally
from outrider.envrunner.gateway.seats import Seats
from outrider.testing.connections import ConnectionPair
from outrider.testing.fragments import assert_well_formed
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.testing.scripted import ScriptedEnvironment
from outrider.transport import LocalWeights
from outrider.transport.connection import Connection
from outrider.wire import (
    Fragment,
    Hello,
    Limits,
    Refusal,
    RefusalReason,
    Welcome,
    answer_hello,
    decode_act_response,
    encode_act_request,
)
from outrider.wire.session import (
    Action,
    Goodbye,
    GoodbyeReason,
    Heartbeat,
    Join,
    SessionWelcome,
    Step,
    Terms,
)

LONG_S = 30.0
NUM_ENVS, NUM_STEPS = 4, 12
TERMS = Terms(heartbeat_interval_s=2, silence_timeout_s=10, session_timeout_s=30)
OBSERVATIONS = space_from_gymnasium(ScriptedEnvironment().observation_space)
ACTIONS = space_from_gymnasium(ScriptedEnvironment().action_space)
GRAPH = mlp_graph(OBSERVATIONS, ACTIONS, num_hidden=8)
PLAN = RunnerPlan(
    environment=EnvironmentSettings(functools.partial(ScriptedEnvironment)),
    settings=EnvRunnerSettings(num_envs_per_env_runner=NUM_ENVS, env_step_timeout_s=LONG_S),
    policy=GRAPH,
    num_steps=NUM_STEPS,
    seed=0,
)
WEIGHTS = LocalWeights(mlp_weights(GRAPH))
Spoil = Callable[[Step], Step | None]


@dataclass
class Peer:
    """Environments in another program, on the far side of a connection."""

    first_environment: int = 0
    num_envs: int = NUM_ENVS
    spoil: Spoil = lambda step: step
    name: str = "node"

    def __post_init__(self) -> None:
        self._envs = SyncVector([ScriptedEnvironment] * self.num_envs, on_failure=lambda *_: 0)
        self._read = column_reader(OBSERVATIONS)
        self.welcome: SessionWelcome | None = None
        self.heard = threading.Event()
        self.goodbye: Goodbye | None = None
        self.connection: Connection
        self.is_closed = False

    def opened(self, connection: Connection) -> None:
        self.connection = connection

    def join(self) -> None:
        join = Join(
            hello=Hello(component="cartpole.js"),
            name=self.name,
            observation_space=OBSERVATIONS,
            action_space=ACTIONS,
            num_environments=self.num_envs,
        )
        self.connection.send(encode_act_request(join))

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        assert attachment is None
        match decode_act_response(head):
            case SessionWelcome() as welcome:
                self.welcome = welcome
                self.heard.set()
                if welcome.welcome.refusal is None:
                    self._send(self._first_step())
            case Action() as action:
                self._send(self._step(action))
            case Goodbye() as goodbye:
                self.goodbye = goodbye
            case other:
                assert isinstance(other, Heartbeat)

    def closed(self, connection: Connection, reason: str) -> None:
        self.is_closed = True

    def _send(self, step: Step) -> None:
        sent = self.spoil(step)
        if sent is not None:
            self.connection.send(encode_act_request(sent))

    def _first_step(self) -> Step:
        seeds = [environment_seed(0, self.first_environment + index) for index in range(self.num_envs)]
        nothing = np.zeros(0, np.bool_)
        return Step(
            sequence=1,
            observations=self._read(self._envs.reset(seed=seeds)[0]),
            rewards=np.zeros(0, np.float32),
            terminated=nothing,
            truncated=nothing,
            ended=np.zeros(0, np.int64),
            final_observations={},
        )

    def _step(self, action: Action) -> Step:
        value, rewards, terminated, truncated, infos = self._envs.step(action.actions[""])
        ended = np.flatnonzero(terminated | truncated)
        return Step(
            sequence=action.sequence + 1,
            observations=self._read(value),
            rewards=rewards.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            ended=ended,
            final_observations=self._read(np.stack(list(infos["final_obs"][ended]))) if len(ended) else {},
        )


class Run:
    """The side that trains, with as many seats as it says."""

    def __init__(self, num_seats: int = 1, *, delay_s: float = 0.002, refusal: Refusal | None = None) -> None:
        self.tally = Tally()
        self.seats = Seats(num_seats, empty="nobody has come")
        own = Hello(component="the run")
        self.sessions = ActSessions(
            PLAN,
            self.seats,
            greet=lambda join: (
                Welcome(component="the run", refusal=refusal) if refusal else answer_hello(join.hello, own)
            ),
            terms=TERMS,
            delay_s=delay_s,
            limits=Limits(),
            tally=self.tally,
        )
        for index in range(num_seats):
            self.seats.start(index, 0)
        self._seen: list[RunnerEvent] = []

    def event(self, kind: type[Any], index: int = 0) -> Any:
        """Wait for the next event of a kind about a seat."""
        deadline = monotonic() + LONG_S
        while monotonic() < deadline:
            for each in self._seen:
                if isinstance(each, kind) and each.index == index:
                    self._seen.remove(each)
                    return each
            self._seen += self.seats.events(1.0)
        raise TimeoutError(f"no {kind.__name__} of {index} among {self._seen}")

    def sample(self, index: int = 0) -> Fragment:
        self.seats.ask(index, WEIGHTS)
        fragment: Fragment = self.event(Sampled, index).fragment.load()
        return fragment


@contextmanager
def playing(run: Run, *peers: Peer) -> Iterator[list[ConnectionPair]]:
    """Let peers join, each after the one before is ready."""
    with ExitStack() as pairs:
        connected = []
        for index, peer in enumerate(peers):
            connected.append(pairs.enter_context(ConnectionPair(run.sessions, peer)))
            peer.join()
            run.event(Ready, index)
        yield connected


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
        (lambda peer: [peer._first_step()], "a step came before join"),
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
        peer.connection.send(encode_act_request(replace(peer._first_step(), sequence=9)))
        assert "it was cut off: step 9 came and none is due" in run.event(Lost).reason


def test_a_runner_goes_on_from_a_state() -> None:
    run, other = Run(), Run()
    with playing(run, Peer()), playing(other, Peer()):
        run.sample()
        state = run.seats.occupant(0).get_state(LONG_S)
        other.seats.occupant(0).set_state(state, LONG_S)
        assert other.seats.occupant(0).get_state(LONG_S)["sampler"] == state["sampler"]
        assert_well_formed(other.sample())
