"""A learner service learns what a learner here learns, one run at a time, and loses little when cut off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import (
    LearnerGroupSettings,
    LearnerPlan,
    LocalAsyncLearnerGroup,
    LocalLearnerGroup,
    OneRank,
    TrainingDivergedError,
)
from outrider.learner.service import served_run
from outrider.learner.service.served_groups import OneLearner
from outrider.learner.service.service_connection import ServiceConnection
from outrider.learner.service.service_session import ServiceSession
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.transport import LocalFragment
from outrider.transport.received import ReceivedFragment, ReceivedWeights
from outrider.wire import Hello, encode_fragment

LONG = 20.0
"""Seconds after which a wait is stuck; none of them is waited for."""


def tensors(group: Any) -> dict[str, Any]:
    return dict(group.publish().load().tensors)


def assert_same(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in right.items():
        np.testing.assert_array_equal(left[name], tensor, err_msg=name)


def local(one: Any, algorithm: str = "ppo") -> LocalLearnerGroup:
    return LocalLearnerGroup(one.plan(algorithm).make_learner(OneRank(), torch.device("cpu")))


def learn_one(group: Any, fragments: list[LocalFragment]) -> Any:
    """Let a group that trains by itself make one update, and return the report of it."""
    group.put(fragments)
    (report,) = group.reports(LONG)
    assert report.num_updates == 1
    return report


@pytest.mark.parametrize("algorithm", ["ppo", "impala", "appo"])
def test_an_update_at_a_service_gives_the_bits_of_an_update_here(
    network: Any, one: Any, algorithm: str
) -> None:
    there, here = network.group(one.plan(algorithm)), local(one, algorithm)
    for seed in range(3):
        left, right = there.update(one.put_in(seed)), here.update(one.put_in(seed))
        assert {name for name in left if not name.endswith("_s")} == {
            name for name in right if not name.endswith("_s")
        }
        assert left["policy_loss"] == right["policy_loss"]
    assert there.publish().version == 3
    assert_same(tensors(there), tensors(here))


@pytest.mark.parametrize("algorithm", ["impala", "appo"])
def test_learners_that_train_by_themselves_give_the_bits_of_those_here(
    network: Any, one: Any, algorithm: str
) -> None:
    there = network.async_group(one.plan(algorithm))
    learner = one.plan(algorithm).make_learner(OneRank(), torch.device("cpu"))
    here = LocalAsyncLearnerGroup(learner, train_batch_size=60, max_staleness=20, queue_capacity=2)
    for seed in range(3):
        left, right = learn_one(there, one.put_in(seed)), learn_one(here, one.put_in(seed))
        assert (left.num_rows, left.staleness, left.num_fragments) == (91, {seed: 2}, 2)
        assert left.metrics["policy_loss"] == right.metrics["policy_loss"]
    assert_same(tensors(there), tensors(here))
    here.close()


def test_fragments_go_on_as_the_bytes_that_came_and_weights_stay_as_they_came(
    network: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = [
        ReceivedFragment(memoryview(encode_fragment(each.load()).to_bytes())) for each in one.put_in(0)
    ]
    group = network.group(one.plan())
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
    network: Any, one: Any, caplog: pytest.LogCaptureFixture
) -> None:
    group = network.group(one.plan())
    for seed in range(3):  # a snapshot is asked for after the second, and is there before the third ends
        group.update(one.put_in(seed))
    network.pairs[-1].cut()
    assert group.update(one.put_in(3))
    assert group.statistics().num_lost_updates == 1
    assert group.statistics().num_restarts == 1
    assert group.publish().version == 5
    assert "go back by 1 update, to their newest snapshot, because the connection to the" in caplog.text


def test_after_a_cut_training_goes_on_from_the_snapshot_to_the_bit(network: Any, one: Any) -> None:
    there, here = network.group(one.plan()), local(one)
    for seed in (0, 1):
        there.update(one.put_in(seed))
        here.update(one.put_in(seed))
    there.get_state()  # is kept
    there.update(one.put_in(9))  # is lost
    network.pairs[-1].cut()
    for seed in (2, 3):
        there.update(one.put_in(seed))
        here.update(one.put_in(seed))
    assert_same(tensors(there), tensors(here))


def test_what_asynchronous_learners_had_not_reported_on_goes_to_the_next_service(
    network: Any, one: Any
) -> None:
    group = network.async_group(one.plan("impala"))
    learn_one(group, one.put_in(0))
    group.put(one.put_in(1)[:1])  # too little for an update
    network.pairs[-1].cut()
    assert group.room == 0
    group.put([])
    assert group.reports(0.0) == []
    group.put(one.put_in(1)[1:])
    (report,) = group.reports(LONG)
    assert (report.num_rows, report.num_restarts, report.num_lost_updates) == (91, 1, 1)
    assert report.weights.version == 3


def test_what_was_put_is_waited_for_and_its_weights_are_here(network: Any, one: Any) -> None:
    group = network.async_group(one.plan("impala"))
    group.put(one.put_in(0))
    group.learn_what_was_put()
    assert group.publish().version == 1


def test_what_was_collected_while_the_service_was_lost_goes_to_the_next_one(network: Any, one: Any) -> None:
    group = network.async_group(one.plan("impala"))
    assert group.room == 2
    network.pairs[-1].cut()
    group.put(one.put_in(0))
    assert group.room == 0
    (report,) = group.reports(LONG)
    assert (report.num_rows, report.num_lost_rows, report.num_restarts) == (91, 0, 1)


def test_a_service_that_is_told_to_stop_hands_its_state_over_and_nothing_is_lost(
    network: Any, one: Any
) -> None:
    there, here = network.group(one.plan()), local(one)
    there.update(one.put_in(0))
    here.update(one.put_in(0))
    network.stop()
    network.start()
    there.update(one.put_in(1))
    here.update(one.put_in(1))
    assert there.statistics().num_lost_updates == 0
    assert_same(tensors(there), tensors(here))


def test_a_state_crosses_and_training_goes_on_from_it(network: Any, one: Any) -> None:
    there, here = network.async_group(one.plan("appo")), local(one, "appo")
    for seed in range(2):
        here.update(one.put_in(seed))
    there.set_state(here.get_state())
    assert there.publish().version == 2
    assert there.room > 0
    learn_one(there, one.put_in(2))
    assert there.get_state()["version"] == 3


def test_room_is_what_the_service_says(network: Any, one: Any) -> None:
    group = network.async_group(one.plan("impala"))
    assert group.room == 2  # before it knows how large fragments are, it takes one for each update
    with pytest.raises(ValueError, match="3 fragments for a learner that has room for 2"):
        group.put(one.put_in(0) + one.put_in(1)[:1])


def test_a_second_algorithm_is_sent_away_in_a_sentence(network: Any, one: Any) -> None:
    first = network.group(one.plan())
    impatient = one.plan(settings=LearnerGroupSettings(learner_start_timeout_s=0.01))
    with pytest.raises(ConnectionError, match="trains another run, and one at a time"):
        network.group(impatient)
    first.close()
    network.group(one.plan()).close()


def test_a_service_that_stays_away_is_given_up_in_a_sentence(network: Any, one: Any) -> None:
    group = network.group(one.plan())
    group._session._start_timeout_s = 0.01
    network.stop()
    with pytest.raises(ConnectionError, match=r"at memory:0 within learner_start_timeout_s=0\.01: "):
        group.update(one.put_in(0))
    network.start()


def losing(network: Any, monkeypatch: pytest.MonkeyPatch, num_times: int) -> None:
    """Let the first connections be lost when the service is asked for its state."""
    get_state = ServiceSession.get_state

    def lose(service: ServiceSession, *take_in: Any) -> Any:
        if len(network.pairs) <= num_times:
            network.pairs[-1].cut()
        return get_state(service, *take_in)

    monkeypatch.setattr(ServiceSession, "get_state", lose)


def test_learners_are_made_again_where_the_service_is_lost_at_once(
    network: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing(network, monkeypatch, 2)
    assert network.group(one.plan()).update(one.put_in(0))
    assert len(network.pairs) == 3


def test_a_service_that_is_lost_whenever_it_begins_is_given_up_in_a_sentence(
    network: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing(network, monkeypatch, 100)
    impatient = one.plan(settings=LearnerGroupSettings(learner_start_timeout_s=0.3))
    with pytest.raises(ConnectionError, match=r"lost whenever it had learners to make, for \S+_s=0\.3: "):
        network.group(impatient)


def test_weights_that_are_lost_behind_a_service_let_the_run_go_on_from_its_snapshot(
    network: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, send = network.group(one.plan()), served_run.weights_pieces
    gone = [ConnectionError("version 1 is gone")]

    def lose(*arguments: Any, **settings: Any) -> Any:
        if gone:
            raise gone.pop()
        return send(*arguments, **settings)

    monkeypatch.setattr(served_run, "weights_pieces", lose)
    assert group.update(one.put_in(0))
    assert group.statistics().num_restarts == 1
    assert group.publish().version == 2  # 1 went back


def test_a_plan_that_does_not_fit_is_refused_in_a_sentence(network: Any, one: Any) -> None:
    with pytest.raises(ValueError, match="refused: ppo does not train by itself"):
        network.async_group(one.plan())


def test_a_network_without_a_name_is_refused_before_anything_is_sent(network: Any, one: Any) -> None:
    nameless = PolicyRecipe(
        observation_space=one.plan().policy.observation_space,
        action_space=one.plan().policy.action_space,
        settings=ModuleSettings(),
        network=lambda *_: torch.nn.Identity(),
        seed=0,
    )
    with pytest.raises(ValueError, match="put the function or class at the top level of a module"):
        network.group(one.plan(policy=nameless))
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


def test_training_that_diverges_there_is_raised_here(network: Any, one: Any) -> None:
    network.stop()
    network.start(Diverging())
    group = network.group(one.plan())
    with pytest.raises(TrainingDivergedError, match=r"^the loss is not finite$"):
        group.update(one.put_in(0))


def test_a_service_that_cannot_unpack_what_runners_pack_is_refused(
    network: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_run, "introduction", lambda who: Hello(component=who))
    with pytest.raises(ValueError, match="needs bfloat16, which a learner service does not have"):
        network.group(one.plan(), needs=frozenset({"bfloat16"}))
