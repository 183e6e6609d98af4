"""What a gateway says to a runner that does not fit or breaks a rule."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings, RunnerPlan
from outrider.envrunner.fleet.remote_runners import Lost, Sampled
from outrider.envrunner.gateway.invitation import Invitation
from outrider.testing.numbered_runner import numbered_weights
from outrider.testing.opened_gateway import Make, goodbye, opened_gateways
from outrider.testing.raw_runner import JOIN, NUMBERED_GRAPH, RawRunner, numbered_fragment
from outrider.wire import (
    DiscreteSpace,
    Hello,
    Limits,
    ProtocolVersion,
    RefusalReason,
    session,
)
from outrider.wire.session import GoodbyeReason


@pytest.fixture
def opened() -> Iterator[Make]:
    with opened_gateways() as make:
        yield make


@pytest.mark.parametrize(
    ("changes", "reason", "sentence"),
    [
        (
            {"observation_space": DiscreteSpace(num_values=9)},
            RefusalReason.ENVIRONMENT,
            "the observation_space of farm 1.2 differs from that of the run: num_values is 9 on the farm",
        ),
        (
            {"action_space": DiscreteSpace(num_values=4, start=1)},
            RefusalReason.ENVIRONMENT,
            "the action_space of farm 1.2 differs from that of the run: start is 1 on the farm and 0 in",
        ),
        (
            {"hello": Hello(component="farm 9", protocol=ProtocolVersion(2, 0))},
            RefusalReason.PROTOCOL,
            "farm 9 speaks wire protocol 2.0 and the training run",
        ),
        (
            {
                "hello": Hello(
                    component="farm 9",
                    capabilities=frozenset({"telepathy"}),
                    required_capabilities=frozenset({"telepathy"}),
                )
            },
            RefusalReason.CAPABILITY,
            "farm 9 needs telepathy",
        ),
    ],
)
def test_who_does_not_fit_is_refused_in_a_sentence_on_both_sides(
    opened: Make,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    reason: RefusalReason,
    sentence: str,
) -> None:
    made = opened()
    peer = RawRunner(made.port)
    refusal = peer.join(**changes).welcome.refusal
    assert refusal is not None
    assert refusal.reason is reason
    assert refusal.sentence.startswith(sentence)
    assert goodbye(peer) == (GoodbyeReason.REFUSED, refusal.sentence)
    assert any("refused" in line and f"(memory:b): {sentence}" in line for line in caplog.messages)
    assert made.gateway.admission.num_refused == 1


def test_a_policy_that_cannot_be_exported_is_for_runners_of_the_run_alone() -> None:
    class Module:
        observation_space, action_heads = NUMBERED_GRAPH.observation_space, NUMBERED_GRAPH.action_heads
        state_spec: dict[str, Any] = {}  # noqa: RUF012

        def fingerprint(self) -> str:
            return "recipe"

    recipe: Any = type("Recipe", (), {"build": lambda _: Module()})()
    settings = EnvRunnerSettings()
    plan = RunnerPlan(
        environment=EnvironmentSettings("CartPole-v1"), settings=settings, policy=recipe, num_steps=1, seed=0
    )
    invitation = Invitation(plan, settings, Limits())
    refusal = invitation.welcome(JOIN, is_stranger=True).refusal
    assert refusal is not None
    assert "cannot be exported" in refusal.sentence


def bad(**changes: Any) -> Callable[[RawRunner], None]:
    return lambda peer: peer.deliver(1, replace(numbered_fragment(), **changes))


LIES: dict[str, tuple[Callable[[RawRunner], None], str]] = {
    "rewards": (bad(rewards=np.array([np.nan], np.float32)), "rewards are NaN"),
    "dtype": (bad(observations={"": np.zeros(1)}, next_observations={"": np.zeros(1)}), "are float64"),
    "version": (bad(policy_version=np.array([8])), "versions 8 to 8 of the weights acted, and only 0 may"),
    "copy": (lambda peer: peer.deliver(1, numbered_fragment(runner=3)), "copies 3 to 3"),
    "garbage": (lambda peer: peer.say(session.FragmentDelivery(1), [b"\xff" * 64]), "fragment 1 is bad"),
    "empty": (lambda peer: peer.say(session.FragmentDelivery(1)), "fragment 1 is empty"),
    "unasked": (lambda peer: peer.deliver(9, numbered_fragment()), "fragment 9 was not asked for"),
    "order": (lambda peer: peer.deliver(2, numbered_fragment()), "fragment 2 came where 1 is the next"),
    "ready": (lambda peer: peer.say(session.Ready()), "it said that it is ready without"),
    "join": (lambda peer: peer.say(JOIN), "it said join twice"),
    "state": (lambda peer: peer.say(session.StateDelivery(1)), "state request 1, which was not made"),
    "head": (lambda peer: peer.connection.send(b"\x0a\x02\xff\xff"), ""),
}


@pytest.mark.parametrize("name", LIES)
def test_who_breaks_a_rule_is_cut_off_with_a_sentence_and_the_others_go_on(opened: Make, name: str) -> None:
    lie, sentence = LIES[name]
    made = opened(2)
    liar, other = made.up(), made.up()
    made.ask(0, 0)
    made.gateway.ask(1, numbered_weights(0))
    lie(liar)
    (lost,) = made.events()
    assert isinstance(lost, Lost)
    assert lost.index == 0
    assert sentence in lost.reason
    reason, said = goodbye(liar)
    assert reason is GoodbyeReason.MISBEHAVED
    assert sentence in said
    assert made.gateway.admission.num_cut_off == 1
    other.deliver(1, numbered_fragment(7, runner=1))
    assert made.delivered() == [7.0]


def test_versions_that_were_never_given_or_go_back_are_not_believed(opened: Make) -> None:
    for version, sentence in (
        (5, "versions 5 to 5 of the weights acted, and 3 to 4 may"),
        (2, "versions 2 to 2"),
    ):
        made = opened()
        peer = made.up()
        for given in (2, 3, 4):
            made.gateway.offer(numbered_weights(given))
            made.events()
        made.ask(None, None)
        peer.deliver(1, numbered_fragment(version=3))
        peer.deliver(2, numbered_fragment(version=version))
        sampled, lost = made.events()
        assert isinstance(sampled, Sampled)
        assert isinstance(lost, Lost)
        assert sentence in lost.reason


def test_asks_that_were_never_made_cannot_have_been_heard(opened: Make) -> None:
    made = opened()
    peer = made.up()
    key = peer.heard(session.SessionWelcome)[0].session
    made.port.cut()
    again = RawRunner(made.port)
    again.say(replace(JOIN, session=key, last_ask=5))
    assert goodbye(again) == (GoodbyeReason.MISBEHAVED, "it has heard ask 5, and 0 was the last")


def test_who_is_cut_off_by_its_connection_is_counted_and_not_waited_for(opened: Make) -> None:
    made = opened(reconnect_timeout_s=1e6)
    made.up()
    made.port.cut_off("more than 5 messages/s came")
    (lost,) = made.events()
    assert isinstance(lost, Lost)
    assert "was cut off: more than 5 messages/s came" in lost.reason
    assert made.gateway.admission.num_cut_off == 1


def test_a_stranger_that_is_cut_off_by_its_connection_is_counted(opened: Make) -> None:
    made = opened()
    RawRunner(made.port)
    made.port.cut_off("more than 5 messages/s came")
    assert made.gateway.admission.num_cut_off == 1


def test_a_session_is_for_whom_it_was_begun_with(opened: Make) -> None:
    made = opened(2)
    owner, thief = made.up(), RawRunner(made.port)
    thief.connection.other.identity = "token:another"
    key = owner.heard(session.SessionWelcome)[0].session
    welcome = thief.join(session=key)
    assert not welcome.resumed
    assert welcome.session != key
    assert owner.closed_because is None


def test_who_says_again_and_again_that_it_leaves_is_told_of_once(
    opened: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "outrider.envrunner")
    made = opened()
    peer = made.up()
    made.ask(0)
    for _ in range(5):
        peer.say(session.Leaving("the weather"))
    assert sum("the weather" in line for line in caplog.messages) == 1


def test_who_was_not_let_in_by_the_network_is_counted(opened: Make) -> None:
    made = opened()
    made.port.num_refused = 3
    assert made.gateway.admission.num_refused == 3
    made.gateway.close()
    assert made.gateway.admission.num_refused == 3


def test_a_stranger_says_join_first(opened: Make) -> None:
    made = opened()
    peer = RawRunner(made.port)
    peer.say(session.Ready())
    assert goodbye(peer) == (GoodbyeReason.MISBEHAVED, "a runner says join first")
    assert made.gateway.admission.num_cut_off == 1


def test_a_stranger_that_says_nothing_is_not_waited_for(
    opened: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outrider.envrunner.gateway.runner_service._JOIN_S", 0.0)
    made = opened()
    peer = RawRunner(made.port)
    made.events()
    assert goodbye(peer)[0] is GoodbyeReason.LATER


def test_what_a_peer_says_is_one_line_in_the_log(opened: Make, caplog: pytest.LogCaptureFixture) -> None:
    made = opened()
    peer = made.up(name="farm\n2026-11-22 ERROR all is lost" + "!" * 1000)
    peer.say(session.Goodbye(reason=GoodbyeReason.FAILED, sentence="x\x1b[2Jy"))
    made.events()
    (line,) = caplog.messages
    assert line.isprintable()
    assert len(line) < 400
