"""What a gateway says to a runner that joins, delivers, breaks off, comes back or breaks a rule."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings, RunnerPlan
from outrider.envrunner.gateway import Gateway
from outrider.envrunner.invitation import Invitation
from outrider.envrunner.remote_runners import Left, Lost, RunnerEvent, Sampled
from outrider.testing.dialled_gateway import MemoryPort
from outrider.testing.numbered_runner import numbered_weights
from outrider.testing.raw_runner import JOIN, NUMBERED_GRAPH, RawRunner, numbered_fragment
from outrider.transport import LocalWeights
from outrider.transport.security import ServerSecurity
from outrider.wire import (
    DiscreteSpace,
    Hello,
    Limits,
    ProtocolVersion,
    RefusalReason,
    decode_policy_graph,
    decode_tree,
    decode_weights,
    encode_tree,
    session,
)
from outrider.wire.session import GoodbyeReason


class Opened:
    """A gateway whose seats are open, with what its driver hears."""

    def __init__(self, num_seats: int = 1, **settings: Any) -> None:
        self.port = MemoryPort()
        made = EnvRunnerSettings(**{"reconnect_timeout_s": 0.2, **settings})
        plan = RunnerPlan(
            environment=EnvironmentSettings("CartPole-v1"),
            settings=made,
            policy=NUMBERED_GRAPH,
            num_steps=1,
            seed=5,
            first_runner=0,
        )
        self.gateway = Gateway(
            plan,
            made,
            num_seats=num_seats,
            address="memory",
            security=ServerSecurity(),
            listen=self.port.listen,
        )
        for index in range(num_seats):
            self.gateway.start(index, incarnation=0)

    def up(self, **join: Any) -> RawRunner:
        """Return a runner that has joined and is ready."""
        peer = RawRunner(self.port)
        peer.join(**join)
        peer.say(session.Ready())
        self.events()
        return peer

    def back(self, before: RawRunner, *, last_ask: int, version: int | None = None) -> RawRunner:
        """Break a runner's connection and let it come back."""
        key = before.heard(session.SessionWelcome)[-1].session
        self.port.cut()
        peer = RawRunner(self.port)
        welcome = peer.join(session=key, last_ask=last_ask, weights_version=version)
        assert welcome.resumed
        return peer

    def ask(self, *versions: int | None) -> None:
        for version in versions:
            self.gateway.ask(0, None if version is None else numbered_weights(version))

    def events(self) -> list[RunnerEvent]:
        self.port.settle()
        return list(self.gateway.events(0))

    def delivered(self) -> list[float]:
        """Return the numbers of the fragments that the driver gets."""
        events = self.events()
        return [float(each.fragment.load().rewards[0]) for each in events if isinstance(each, Sampled)]


@pytest.fixture
def opened() -> Iterator[Callable[..., Opened]]:
    """Make gateways and close them afterwards."""
    made: list[Opened] = []

    def make(*arguments: Any, **settings: Any) -> Opened:
        made.append(Opened(*arguments, **settings))
        return made[-1]

    yield make
    for each in made:
        each.gateway.close()


Make = Callable[..., Opened]


def large_weights(version: int) -> LocalWeights:
    """Weights that are on their way for a while: 2 MiB."""
    tensors = {"w": np.zeros(2**19, np.float32)}
    return LocalWeights(replace(numbered_weights(version).load(), tensors=tensors))


def goodbye(peer: RawRunner) -> tuple[GoodbyeReason, str]:
    (said,) = peer.heard(session.Goodbye)
    assert peer.closed_because is not None
    return said.reason, said.sentence


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


def test_both_sides_hear_of_each_other_often_enough_to_notice_a_frozen_one_within_12_s(opened: Make) -> None:
    welcome = RawRunner(opened().port).join()
    assert welcome.terms is not None
    assert welcome.terms.heartbeat_interval_s * 2 < welcome.terms.silence_timeout_s < 12


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


# ------------------------------------------------------------------------------------------ coming back


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


def test_who_does_not_come_back_is_lost_and_its_session_with_it(opened: Make) -> None:
    made = opened()
    peer = made.up()
    key = peer.heard(session.SessionWelcome)[0].session
    made.port.cut()
    assert made.events() == []
    (lost,) = made.gateway.events(30)
    assert isinstance(lost, Lost)
    assert "reconnect_timeout_s=0.2" in lost.reason
    made.gateway.start(0, incarnation=1)
    again = RawRunner(made.port)
    welcome = again.join(session=key)
    assert not welcome.resumed
    assert welcome.session != key
    assert again.heard(session.Assignment)[0].incarnation == 1


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


# ------------------------------------------------------------------------------------ leaving and states


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


def test_who_is_gone_has_no_state(opened: Make) -> None:
    made = opened()
    peer = made.up()
    answering(peer, lambda _: peer.say(session.Goodbye(reason=GoodbyeReason.FAILED)))
    with pytest.raises(ConnectionError, match="is gone"):
        made.gateway.get_state(0, 30)


# ---------------------------------------------------------------------------------- refused and cut off


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
    monkeypatch.setattr("outrider.envrunner.runner_service._JOIN_S", 0.0)
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
