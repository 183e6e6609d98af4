from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings
from outrider.envrunner.environments.restarts import EnvironmentsFailedError
from outrider.envrunner.farm.assigned_runner import FarmEnvironment
from outrider.envrunner.farm.dial_again import BackOff
from outrider.envrunner.farm.farm_ending import Ended, Ending
from outrider.envrunner.farm.farm_runner import FarmRunner, RefusedSettingsError
from outrider.envrunner.farm.farm_session import FarmSession
from outrider.testing.connections import ConnectionPair
from outrider.testing.messages import example_fragment, example_spaces, example_weights
from outrider.testing.multi_agent_messages import example_team
from outrider.testing.runner_pool_conformance import pool_setup
from outrider.transport.connection import Connection, DialError, Receiver
from outrider.wire import (
    Fragment,
    Hello,
    Weights,
    Welcome,
    decode_fragment,
    decode_tree,
    encode_fragment,
    encode_policy_graph,
    encode_tree,
    encode_weights,
    session,
)
from outrider.wire.session import Goodbye, GoodbyeReason
from outrider.wire.session_codec import decode_sample_request, encode_sample_response

SPACES = example_spaces()
TERMS = session.Terms(heartbeat_interval_s=1.0, silence_timeout_s=4.0)


class NoPauses(BackOff):
    def next_s(self) -> float:
        return 0.0


class Witness:
    def __init__(self) -> None:
        self.told: list[str] = []

    def connected(self, sentence: str) -> None:
        self.told.append(sentence)

    lost = parted = noticed = waits = connected

    def seated(self, known: str) -> None:
        pass

    def sampled(self, num_env_steps: int, version: int) -> None:
        self.told.append(f"{num_env_steps} steps of version {version}")


class FakeRunner:
    """Hands out one fragment again and again."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.state: Mapping[str, Any] = {"step": 3}
        self.is_closed = False
        self.fails = False
        self.fragment = example_fragment()

    def set_weights(self, weights: Weights) -> None:
        self.version = weights.version

    def sample(self) -> Fragment:
        if self.fails:
            raise EnvironmentsFailedError("the environment failed again and again")
        return self.fragment

    def get_state(self) -> dict[str, Any]:
        return dict(self.state)

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.state = state

    def close(self) -> None:
        self.is_closed = True


class Gateway:
    """Lets everybody in, and answers what it hears as a test says."""

    def __init__(self, react: Callable[[Gateway, Any, bytes], None]) -> None:
        self.heard: list[Any] = []
        self.settings: dict[str, Any] = {}
        self.team: session.Team | None = None
        self._react = react
        self.connection: Connection

    def opened(self, connection: Connection) -> None:
        self.connection = connection

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None:
        message = decode_sample_request(head)
        self.heard.append(message)
        if isinstance(message, session.Join):
            welcome = Welcome(component="a trainer", capabilities=frozenset({"zstd"}))
            self.say(session.SessionWelcome(welcome=welcome, session="s", terms=TERMS))
            self.say(replace(assignment(**self.settings), team=self.team), b"graph")
        self._react(self, message, bytes(attachment or b""))

    def closed(self, connection: Connection, reason: str) -> None:
        pass

    def say(self, message: Any, attachment: bytes = b"") -> None:
        head = encode_sample_response(message, attachment_bytes=len(attachment))
        self.connection.send(head, [attachment] if attachment else [])

    def thank(self) -> None:
        self.say(Goodbye(reason=GoodbyeReason.DONE, sentence="thank you"))


def take_part(
    react: Callable[[Gateway, Any, bytes], None],
    *,
    runner: FakeRunner | None = None,
    make: Callable[..., Any] | None = None,
    refusals: list[DialError] | None = None,
    give_up_after_s: float = 60.0,
    clock: Callable[[], float] = lambda: 0.0,
    settings: Mapping[str, Any] | None = None,
    team: session.Team | None = None,
) -> tuple[Ended, Gateway, Witness]:
    """Run a runner to its end against such a gateway, which is not there for the first `refusals`."""
    witness, gateway = Witness(), Gateway(react)
    join = session.Join(
        hello=Hello(component="a farm"),
        name="runner 0",
        observation_space=SPACES["box"],
        action_space=SPACES["discrete"],
    )
    gateway.settings, gateway.team = dict(settings or {}), team
    pairs: list[ConnectionPair] = []

    def dial(receiver: Receiver) -> Connection:
        if refusals:
            raise refusals.pop(0)
        pairs.append(ConnectionPair(gateway, receiver))
        return pairs[-1].b

    farm_session = FarmSession(join, witness=witness)
    ended = FarmRunner(
        dial,
        make or (lambda *_: runner or FakeRunner()),
        farm_session,
        witness,
        give_up_after_s=give_up_after_s,
        back_off=NoPauses(random.Random(0)),
        clock=clock,
    ).run()
    for pair in pairs:
        pair.__exit__(None, None, None)
    return ended, gateway, witness


WEIGHTS = encode_weights(example_weights()).to_bytes()


def test_a_runner_samples_what_it_is_asked_for_with_the_weights_it_is_given() -> None:
    delivered: list[bytes] = []

    def react(gateway: Gateway, message: Any, attachment: bytes) -> None:
        match message:
            case session.Ready():
                gateway.say(session.Ask(1, weights_version=3))
                gateway.say(session.WeightsDelivery(3), WEIGHTS)
            case session.FragmentDelivery():
                delivered.append(attachment)
                gateway.thank()

    runner = FakeRunner()
    ended, _, witness = take_part(react, runner=runner)
    assert ended == Ended(Ending.OVER, "thank you")
    np.testing.assert_array_equal(decode_fragment(delivered[0]).rewards, example_fragment().rewards)
    assert (runner.version, runner.is_closed) == (3, True)
    assert "7 steps of version 12" in witness.told


def test_with_several_agents_steps_are_those_of_environments_and_the_newest_weights_those_of_any_stack() -> (
    None
):
    def react(gateway: Gateway, message: Any, _: bytes) -> None:
        match message:
            case session.Ready():
                gateway.say(session.WeightsDelivery(3), WEIGHTS)
                gateway.say(session.Ask(1))
            case session.FragmentDelivery():
                gateway.thank()

    runner = FakeRunner()
    runner.fragment = example_team()
    newer = replace(runner.fragment.others[0], policy_version=np.array([99]))
    runner.fragment = replace(runner.fragment, others=(newer,))
    team = session.Team(agents=("red", "blue"), num_copies=0, has_central_critic=False)
    _, _, witness = take_part(react, runner=runner, team=team)
    assert "12 steps of version 99" in witness.told


def test_an_environment_that_fails_ends_the_runner_and_the_gateway_hears_why() -> None:
    def react(gateway: Gateway, message: Any, attachment: bytes) -> None:
        if isinstance(message, session.Ready):
            gateway.say(session.WeightsDelivery(3), WEIGHTS)
            gateway.say(session.Ask(1))

    runner = FakeRunner()
    runner.fails = True
    ended, gateway, _ = take_part(react, runner=runner)
    assert ended == Ended(Ending.FAILED, "the environment failed again and again")
    assert gateway.heard[-1] == Goodbye(reason=GoodbyeReason.FAILED, sentence=ended.sentence)


def test_what_the_environment_raises_is_told_with_its_kind() -> None:
    def make(*_: object) -> FakeRunner:
        raise ZeroDivisionError("no time has passed")

    ended, _, _ = take_part(lambda *_: None, make=make)
    assert ended == Ended(Ending.FAILED, "ZeroDivisionError: no time has passed")


@pytest.mark.parametrize(("wanted", "used"), [("none", "none"), ("zstd", "zstd"), ("lz4", "none")])
def test_fragments_are_compressed_as_the_run_wants_where_both_sides_can(
    wanted: str, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def encode(fragment: Fragment, *, compression: str) -> Any:
        seen.append(compression)
        return encode_fragment(fragment)

    def react(gateway: Gateway, message: Any, attachment: bytes) -> None:
        match message:
            case session.Ready():
                gateway.say(session.WeightsDelivery(3), WEIGHTS)
                gateway.say(session.Ask(1))
            case session.FragmentDelivery():
                gateway.thank()

    monkeypatch.setattr("outrider.envrunner.farm.farm_runner.encode_fragment", encode)
    take_part(react, settings={"fragment_compression": wanted})
    assert seen == [used]


def test_settings_that_are_unknown_here_are_refused_by_name() -> None:
    def make(*_: object) -> FakeRunner:
        raise RefusedSettingsError("knows no setting 'gravity'")

    ended, gateway, _ = take_part(lambda *_: None, make=make)
    assert ended == Ended(Ending.REFUSED, "knows no setting 'gravity'")
    assert gateway.heard[-1].reason is GoodbyeReason.REFUSED


def test_a_state_is_told_and_taken_and_the_weights_are_wanted_again() -> None:
    told: list[Any] = []

    def react(gateway: Gateway, message: Any, attachment: bytes) -> None:
        match message:
            case session.Ready():
                gateway.say(session.WeightsDelivery(3), WEIGHTS)
                gateway.say(session.StateRequest(1))
            case session.StateDelivery(1):
                told.append(decode_tree(attachment))
                gateway.say(session.StateRequest(2), encode_tree({"step": 9}).to_bytes())
            case session.StateDelivery(2, error):
                told.append(error)
                gateway.thank()

    runner = FakeRunner()
    take_part(react, runner=runner)
    assert told == [{"step": 3}, ""]
    assert runner.state == {"step": 9}


def test_a_state_that_does_not_fit_is_an_answer_and_no_end() -> None:
    errors = []

    class Stubborn(FakeRunner):
        def set_state(self, state: Mapping[str, Any]) -> None:
            raise KeyError("step")

    def react(gateway: Gateway, message: Any, attachment: bytes) -> None:
        match message:
            case session.Ready():
                gateway.say(session.StateRequest(1), encode_tree({}).to_bytes())
            case session.StateDelivery(1, error):
                errors.append(error)
                gateway.thank()

    ended, _, _ = take_part(react, runner=Stubborn())
    assert errors == ["KeyError: 'step'"]
    assert ended.ending is Ending.OVER


def thank_when_ready(gateway: Gateway, message: Any, attachment: bytes) -> None:
    if isinstance(message, session.Ready):
        gateway.thank()


def test_a_gateway_that_is_not_there_yet_is_dialled_again() -> None:
    refusals = [DialError("nobody listens there", is_final=False) for _ in range(3)]
    ended, _, witness = take_part(thank_when_ready, refusals=refusals)
    assert ended.ending is Ending.OVER
    assert witness.told[:3] == ["nobody listens there; trying again in 0.1 s"] * 3


def test_what_cannot_be_helped_by_dialling_is_not_dialled_again() -> None:
    refusals = [DialError("a wrong token", is_final=True), DialError("never dialled", is_final=False)]
    ended, gateway, witness = take_part(thank_when_ready, refusals=refusals)
    assert ended == Ended(Ending.REFUSED, "a wrong token")
    assert witness.told == []
    assert len(refusals) == 1
    assert gateway.heard == []


def test_it_gives_up_after_so_long_without_a_gateway() -> None:
    times = iter(range(0, 1000, 25))
    refusals = [DialError("nobody listens there", is_final=False) for _ in range(20)]
    ended, _, _ = take_part(
        thank_when_ready, refusals=refusals, give_up_after_s=100.0, clock=lambda: next(times)
    )
    assert ended.ending is Ending.GAVE_UP
    assert ended.sentence == (
        "there was no gateway for 100 s, which is longer than --give-up-after 100: nobody listens there"
    )


def assignment(**settings: Any) -> session.Assignment:
    return session.Assignment(
        runner=2, incarnation=0, num_environments=3, num_steps=4, seed=1, settings=settings
    )


def graph() -> memoryview:
    setup = pool_setup()
    return memoryview(encode_policy_graph(setup.graph).to_bytes())


def test_an_assignment_makes_the_runner_of_that_number() -> None:
    make = FarmEnvironment(environment=EnvironmentSettings("CartPole-v1"), vectorize_mode="sync").make_runner
    runner = make(assignment(max_env_restarts=3), graph())
    runner.set_weights(weights_for_the_graph())
    fragment = runner.sample()
    runner.close()
    assert fragment.streams.environment.tolist() == [6, 7, 8]
    assert fragment.num_rows == 12


def weights_for_the_graph() -> Weights:
    from outrider.testing.runner_pool_conformance import weights_of

    return weights_of(pool_setup(), 0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"gravity": 3}, "knows no setting 'gravity'"), ({"max_env_restarts": -1}, "max_env_restarts is -1")],
)
def test_settings_of_an_assignment_are_checked(settings: dict[str, Any], sentence: str) -> None:
    farm = FarmEnvironment(environment=EnvironmentSettings("CartPole-v1"))
    with pytest.raises(RefusedSettingsError, match=sentence):
        farm.make_runner(assignment(**settings), graph())
