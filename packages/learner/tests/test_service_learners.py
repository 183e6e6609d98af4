"""A learner service learns what a learner here learns, one run at a time, and loses little when cut off."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import (
    APPOSettings,
    IMPALASettings,
    LearnerGroupSettings,
    LearnerPlan,
    LocalAsyncLearnerGroup,
    LocalLearnerGroup,
    OneRank,
    PPOSettings,
    TrainingDivergedError,
)
from outrider.learner.groups.introduction import introduction
from outrider.learner.service import learner_service, served_run
from outrider.learner.service.learner_service import LearnerService
from outrider.learner.service.served_groups import OneLearner
from outrider.learner.service.service_connection import ServiceConnection
from outrider.learner.service.service_plan import plan_message
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.transport import LocalFragment, outbox
from outrider.transport.outbox import Outbox
from outrider.transport.received import ReceivedFragment, ReceivedWeights, fragment_pieces
from outrider.wire import (
    BoxSpace,
    DiscreteSpace,
    Hello,
    WireError,
    decode_learn_response,
    encode_fragment,
    encode_learn_request,
    encode_tree,
    session,
)

LONG = 20.0
"""Seconds after which a wait is stuck; none of them is waited for."""
TRAINING = {
    "ppo": PPOSettings(minibatch_size=32, num_epochs=2, lr=1e-3),
    "impala": IMPALASettings(train_batch_size_per_learner=60, learner_queue_size=2),
    "appo": APPOSettings(train_batch_size_per_learner=60, learner_queue_size=2),
}
SETTINGS = LearnerGroupSettings(
    num_updates_between_snapshots=2, learner_timeout_s=LONG, learner_start_timeout_s=LONG
)


def plan(algorithm: str = "ppo", **changes: Any) -> LearnerPlan:
    recipe = PolicyRecipe(
        observation_space=BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32)),
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(16,), normalize_observations=True, normalize_rewards=True),
        seed=3,
    )
    parts: dict[str, Any] = {"training": TRAINING[algorithm], "policy": recipe, "settings": SETTINGS}
    return LearnerPlan(algorithm=algorithm, seed=5, **(parts | changes))


@pytest.fixture
def put_in(lab: Any) -> Callable[[int], list[LocalFragment]]:
    policy = plan().policy.build()

    def fragments(seed: int) -> list[LocalFragment]:
        return [
            LocalFragment(lab.fragment(policy, [30, 21], seed=seed)),
            LocalFragment(lab.fragment(policy, [40], seed=seed + 1, first_environment=2)),
        ]

    return fragments


def tensors(group: Any) -> dict[str, Any]:
    return dict(group.publish().load().tensors)


def assert_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in right.items():
        np.testing.assert_array_equal(left[name], tensor, err_msg=name)


def local(algorithm: str) -> LocalLearnerGroup:
    return LocalLearnerGroup(plan(algorithm).make_learner(OneRank(), torch.device("cpu")))


def learn_one(group: Any, fragments: list[LocalFragment]) -> Any:
    """Let a group that trains by itself make one update, and return the report of it."""
    group.put(fragments)
    (report,) = group.reports(LONG)
    assert report.num_updates == 1
    return report


@pytest.mark.parametrize("algorithm", TRAINING)
def test_an_update_at_a_service_gives_the_bits_of_an_update_here(
    network: Any, put_in: Any, algorithm: str
) -> None:
    there, here = network.group(plan(algorithm)), local(algorithm)
    for seed in range(3):
        left, right = there.update(put_in(seed)), here.update(put_in(seed))
        assert {name for name in left if not name.endswith("_s")} == {
            name for name in right if not name.endswith("_s")
        }
        assert left["policy_loss"] == right["policy_loss"]
    assert there.publish().version == 3
    assert_same(tensors(there), tensors(here))


@pytest.mark.parametrize("algorithm", ["impala", "appo"])
def test_learners_that_train_by_themselves_give_the_bits_of_those_here(
    network: Any, put_in: Any, algorithm: str
) -> None:
    there = network.async_group(plan(algorithm))
    learner = plan(algorithm).make_learner(OneRank(), torch.device("cpu"))
    here = LocalAsyncLearnerGroup(learner, train_batch_size=60, max_staleness=20, queue_capacity=2)
    for seed in range(3):
        left, right = learn_one(there, put_in(seed)), learn_one(here, put_in(seed))
        assert (left.num_rows, left.staleness, left.num_fragments) == (91, {seed: 2}, 2)
        assert left.metrics["policy_loss"] == right.metrics["policy_loss"]
    assert_same(tensors(there), tensors(here))
    here.close()


def test_fragments_go_on_as_the_bytes_that_came_and_weights_stay_as_they_came(
    network: Any, put_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = [ReceivedFragment(memoryview(encode_fragment(each.load()).to_bytes())) for each in put_in(0)]
    group = network.group(plan())
    sent: list[Any] = []
    send = ServiceConnection.send_fragment

    def noted(self: ServiceConnection, pieces: Any) -> int:
        sent.append(pieces)
        return send(self, pieces)

    monkeypatch.setattr(ServiceConnection, "send_fragment", noted)
    group.update(received)
    assert [pieces[0] is each.message for pieces, each in zip(sent, received, strict=True)] == [True, True]
    assert isinstance(group.publish(), ReceivedWeights)


def test_a_cut_connection_costs_the_updates_since_the_newest_snapshot_and_says_so(
    network: Any, put_in: Any, caplog: pytest.LogCaptureFixture
) -> None:
    group = network.group(plan())
    for seed in range(3):  # a snapshot is asked for after the second, and is there before the third ends
        group.update(put_in(seed))
    network.pairs[-1].cut()
    assert group.update(put_in(3))
    assert group.statistics().num_lost_updates == 1
    assert group.statistics().num_restarts == 1
    assert group.publish().version == 5
    assert "go back by 1 update, to their newest snapshot, because the connection to the" in caplog.text


def test_after_a_cut_training_goes_on_from_the_snapshot_to_the_bit(network: Any, put_in: Any) -> None:
    there, here = network.group(plan()), local("ppo")
    for seed in (0, 1):
        there.update(put_in(seed))
        here.update(put_in(seed))
    there.get_state()  # is kept
    there.update(put_in(9))  # is lost
    network.pairs[-1].cut()
    for seed in (2, 3):
        there.update(put_in(seed))
        here.update(put_in(seed))
    assert_same(tensors(there), tensors(here))


def test_what_asynchronous_learners_had_not_reported_on_goes_to_the_next_service(
    network: Any, put_in: Any
) -> None:
    group = network.async_group(plan("impala"))
    learn_one(group, put_in(0))
    group.put(put_in(1)[:1])  # too little for an update
    network.pairs[-1].cut()
    assert group.room == 0
    group.put([])
    assert group.reports(0.0) == []
    group.put(put_in(1)[1:])
    (report,) = group.reports(LONG)
    assert (report.num_rows, report.num_restarts, report.num_lost_updates) == (91, 1, 1)
    assert report.weights.version == 3


def test_a_service_that_is_told_to_stop_hands_its_state_over_and_nothing_is_lost(
    network: Any, put_in: Any
) -> None:
    there, here = network.group(plan()), local("ppo")
    there.update(put_in(0))
    here.update(put_in(0))
    network.stop()
    network.start()
    there.update(put_in(1))
    here.update(put_in(1))
    assert there.statistics().num_lost_updates == 0
    assert_same(tensors(there), tensors(here))


def test_a_state_crosses_and_training_goes_on_from_it(network: Any, put_in: Any) -> None:
    there, here = network.async_group(plan("appo")), local("appo")
    for seed in range(2):
        here.update(put_in(seed))
    there.set_state(here.get_state())
    assert there.publish().version == 2
    assert there.room > 0
    learn_one(there, put_in(2))
    assert there.get_state()["version"] == 3


def test_room_is_what_the_service_says(network: Any, put_in: Any) -> None:
    group = network.async_group(plan("impala"))
    assert group.room == 2  # before it knows how large fragments are, it takes one for each update
    with pytest.raises(ValueError, match="3 fragments for a learner that has room for 2"):
        group.put(put_in(0) + put_in(1)[:1])


def test_a_second_algorithm_is_sent_away_in_a_sentence(network: Any) -> None:
    first = network.group(plan())
    impatient = plan(settings=LearnerGroupSettings(learner_start_timeout_s=0.01))
    with pytest.raises(ConnectionError, match="trains another run, and one at a time"):
        network.group(impatient)
    first.close()
    network.group(plan()).close()


def test_a_service_that_stays_away_is_given_up_in_a_sentence(network: Any, put_in: Any) -> None:
    group = network.group(plan())
    group._session._start_timeout_s = 0.01
    network.stop()
    with pytest.raises(ConnectionError, match=r"at memory:0 within learner_start_timeout_s=0\.01: "):
        group.update(put_in(0))
    network.start()


def test_a_plan_that_does_not_fit_is_refused_in_a_sentence(network: Any) -> None:
    with pytest.raises(ValueError, match="refused: ppo does not train by itself"):
        network.async_group(plan())


def test_a_network_without_a_name_is_refused_before_anything_is_sent(network: Any) -> None:
    nameless = PolicyRecipe(
        observation_space=plan().policy.observation_space,
        action_space=plan().policy.action_space,
        settings=ModuleSettings(),
        network=lambda *_: torch.nn.Identity(),
        seed=0,
    )
    with pytest.raises(ValueError, match="put the function or class at the top level of a module"):
        network.group(plan(policy=nameless))
    assert not network.pairs


class Diverging:
    """Groups whose learner diverges."""

    num_learners = 1

    def make(self, made: LearnerPlan) -> Any:
        group = OneLearner().make(made)

        def update(fragments: Any) -> dict[str, float]:
            raise TrainingDivergedError("the loss is not finite")

        group.update = update  # type: ignore[method-assign]
        return group


def test_training_that_diverges_there_is_raised_here(network: Any, put_in: Any) -> None:
    network.stop()
    network.start(Diverging())
    group = network.group(plan())
    with pytest.raises(TrainingDivergedError, match=r"^the loss is not finite$"):
        group.update(put_in(0))


def test_an_update_may_be_asked_for_before_its_fragments_are_here(network: Any, put_in: Any) -> None:
    connection = ServiceConnection(network.dial, LONG)
    start = encode_tree({"plan": plan_message(plan()), "state": None})
    connection.send(session.LearnStart(asynchronous=False), start.pieces())
    connection.send(session.LearnUpdate(2))
    for fragment in put_in(0):
        connection.send_fragment(fragment_pieces(fragment))
    said = [connection.take(LONG) for _ in range(4)]
    assert [type(each[0]) for each in said if each] == [
        session.LearnWeights,
        session.LearnReady,
        session.LearnWeights,
        session.LearnReport,
    ]
    connection.close()


def says(network: Any, *messages: Any, attached: bytes = b"") -> str:
    """Say something to the service and return the sentence that it ends the run with."""
    connection = ServiceConnection(network.dial, LONG)
    for message in messages:
        connection.send(message, [attached] if attached else [])
    try:
        while connection.take(LONG):
            pass
    except RuntimeError as error:
        return str(error)
    raise AssertionError("the service said nothing")


@pytest.mark.parametrize(
    ("message", "attached", "sentence"),
    [
        (session.LearnFragment(1), b"x", "there are no learners yet"),
        (session.LearnStateRequest(1), b"", "there are no learners yet"),
        (session.LearnUpdate(1), b"", "there are no learners yet"),
        (session.LearnStart(asynchronous=False), b"\x80", "tree"),
        (session.LearnStart(asynchronous=False), b"", "tree"),
    ],
)
def test_who_breaks_a_rule_is_told_which_and_the_next_run_is_served(
    network: Any, caplog: pytest.LogCaptureFixture, message: Any, attached: bytes, sentence: str
) -> None:
    caplog.set_level(logging.ERROR)
    assert sentence in says(network, message, attached=attached)
    network.group(plan()).close()


def test_who_holds_the_service_and_starts_nothing_is_sent_away(
    network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner_service, "_START_TIMEOUT_S", 0.3)
    assert "no start came within 0.3 s" in says(network)


def test_no_more_messages_wait_for_the_learners_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner_service, "_MAX_QUEUED", 3)
    service, line = learner_service.LearnerService(OneLearner()), Line()
    service.opened(line)  # nobody serves: learners that are busy for long
    update = encode_learn_request(session.LearnUpdate(1))
    for _ in range(3):
        service.received(line, update, None)
    with pytest.raises(WireError, match="3 messages wait to be read"):
        service.received(line, update, None)


class Line:
    """A connection that nobody is on the other side of."""

    peer, identity, num_bytes_to_send, broke_rule = "nowhere", "", 0, False

    def send(self, head: bytes, attachment: object = ()) -> None: ...

    def keep(self, terms: session.Terms) -> None: ...

    def close(self, last: bytes = b"") -> None: ...


def test_a_service_that_cannot_unpack_what_runners_pack_is_refused(
    network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_run, "introduction", lambda who: Hello(component=who))
    with pytest.raises(ValueError, match="needs bfloat16, which a learner service does not have"):
        network.group(plan(), needs=frozenset({"bfloat16"}))


class Heard:
    """An algorithm's connection, as the service sees it; keeps what it was sent."""

    peer, identity, num_bytes_to_send, broke_rule = "peer", "", 0, False

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.is_closed = threading.Event()
        self.has_state = threading.Event()

    def send(self, head: bytes, attachment: Any = ()) -> None:
        self.said.append(decode_learn_response(head))
        if isinstance(self.said[-1], session.LearnState):
            self.has_state.set()

    def keep(self, terms: Any) -> None: ...

    def close(self, last: bytes = b"") -> None:
        self.said.append(decode_learn_response(last))
        self.is_closed.set()


def test_a_service_that_is_told_to_stop_stays_until_its_state_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learner_service, "_TAKEN_TIMEOUT_S", 60.0)
    service, line = LearnerService(OneLearner()), Heard()
    thread = threading.Thread(target=service.serve)
    start = encode_tree({"plan": plan_message(plan()), "state": None}).to_bytes()
    service.opened(line)
    service.received(line, encode_learn_request(introduction("an algorithm")), None)
    service.received(
        line, encode_learn_request(session.LearnStart(False), attachment_bytes=len(start)), memoryview(start)
    )
    service.received(line, encode_learn_request(session.LearnStateRequest(1)), None)
    thread.start()
    assert line.has_state.wait(20)
    line.has_state.clear()
    service.stop("it was told to stop")
    assert line.has_state.wait(20)
    assert line.said[-1] == session.LearnState(0)
    assert not line.is_closed.wait(0.05)
    service.received(line, encode_learn_request(session.LearnStateRequest(0)), None)
    assert line.is_closed.wait(20)
    assert line.said[-1].reason is session.GoodbyeReason.LATER
    thread.join(20)


class Slow:
    """A run that reads nothing of what it is sent, but where `read` is called."""

    peer, identity, broke_rule = "slow", "", False

    def __init__(self) -> None:
        self._outbox = Outbox()
        self.was_too_full = False
        self.room = 0

    @property
    def num_bytes_to_send(self) -> int:
        return self._outbox.num_large_bytes

    def send(self, head: bytes, attachment: Any = ()) -> None:
        self._outbox.put(head, attachment)
        self.was_too_full |= self._outbox.is_too_full
        match decode_learn_response(head):
            case session.LearnReady(room=room) | session.LearnRoom(last_sequence=room):
                self.room = room

    def read(self) -> None:
        while self._outbox.take() is not None:
            pass

    def keep(self, terms: Any) -> None: ...

    def close(self, last: bytes = b"") -> None: ...


def test_a_run_that_reads_slowly_is_sent_weights_no_faster_than_it_reads_them(
    put_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MIN_WAITING_BYTES", 0)
    monkeypatch.setattr(served_run, "_SOON_BYTES", 0)
    line = Slow()
    run = served_run.ServedRun(line, OneLearner(), network_modules=())
    run.receive(introduction("a test"), memoryview(b""))
    start = encode_tree({"plan": plan_message(plan("impala")), "state": None})
    run.receive(session.LearnStart(asynchronous=True), memoryview(start.to_bytes()))
    fragments = [memoryview(b"".join(fragment_pieces(each))) for seed in range(8) for each in put_in(seed)]
    num_put = 0

    def go_on(until: Callable[[], bool]) -> None:
        nonlocal num_put
        deadline = time.monotonic() + LONG
        while not until() and time.monotonic() < deadline:
            while num_put < min(line.room, len(fragments)):
                num_put += 1
                run.receive(session.LearnFragment(num_put), fragments[num_put - 1])
            run.work()
            time.sleep(0.002)

    began = time.monotonic()
    go_on(lambda: line.was_too_full or num_put == len(fragments) or time.monotonic() > began + 0.5)
    assert not line.was_too_full
    assert num_put < len(fragments)
    line.read()
    while num_put < len(fragments):
        go_on(lambda: line.num_bytes_to_send > 0 or num_put == len(fragments))
        assert time.monotonic() < began + LONG
        line.read()
    run.end()
