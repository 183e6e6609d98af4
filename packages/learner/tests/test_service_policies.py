"""Several policies learn at a service what they learn here, and no change of them is lost with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import LocalAsyncLearnerGroup, LocalLearnerGroup, MultiAgentPlan, OneRank
from outrider.learner.groups.learned_policies import PoliciesHere
from outrider.learner.service.service_connection import ServiceConnection
from outrider.learner.service.service_plan import plan_message
from outrider.wire import decode_tree, encode_tree, session

CPU = torch.device("cpu")
LONG = 20.0
"""Seconds after which a wait is stuck; none of them is waited for."""


class Here:
    """The same learner in this process."""

    def __init__(self, made: MultiAgentPlan) -> None:
        learner = made.make_learner(OneRank(), CPU)
        self.group = LocalLearnerGroup(learner)
        self.policies = PoliciesHere(
            learner, self.group, algorithm=made.algorithm, seed=made.seed, device=CPU
        )


class There:
    """A group at a service, and its policies."""

    def __init__(self, network: Any, made: MultiAgentPlan) -> None:
        self.group = network.group(made)
        self.policies = self.group.policies


def tensors(group: Any) -> dict[str, Any]:
    return dict(group.publish().load().tensors)


def assert_same(left: Mapping[str, Any], right: Mapping[str, Any]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in right.items():
        np.testing.assert_array_equal(left[name], tensor, err_msg=name)


@pytest.mark.parametrize("algorithm", ["ppo", "impala", "appo"])
def test_stacks_and_policies_alone_learn_the_bits_that_they_learn_here(
    network: Any, several: Any, algorithm: str
) -> None:
    there, here = There(network, several.plan(algorithm)), Here(several.plan(algorithm))
    for seed in range(3):
        left, right = there.group.update(several.put_in(seed)), here.group.update(several.put_in(seed))
        assert left["policy_loss"] == right["policy_loss"]
    assert_same(tensors(there.group), tensors(here.group))
    assert_same(there.policies.policy_metrics(), here.policies.policy_metrics())


@pytest.mark.parametrize("algorithm", ["impala", "appo"])
def test_policies_that_train_by_themselves_learn_the_bits_that_they_learn_here(
    network: Any, several: Any, algorithm: str
) -> None:
    made = several.plan_without_pause(algorithm)
    there = network.async_group(made)
    here = LocalAsyncLearnerGroup(
        made.make_learner(OneRank(), CPU),
        train_batch_size=40,
        max_staleness=20,
        queue_capacity=2,
        num_steps_per_fragment=40,
    )
    for seed in range(3):
        for group in (there, here):
            group.put(several.put_in(seed))
            (report,) = group.reports(LONG)
            assert (report.num_updates, report.num_fragments) == (1, 1)
    assert_same(tensors(there), tensors(here))
    here.close()


def test_a_change_between_updates_that_nobody_was_asked_for_is_made_after_all_of_them(
    network: Any, several: Any
) -> None:
    group = network.async_group(several.plan_without_pause("impala"))
    policies = group.policies
    group.put(several.put_in(0))
    policies.add(several.stack("many", 3, algorithm="impala"), like=0)
    reports = list(group.reports(LONG))
    assert sum(report.num_updates for report in reports) == 1
    weights = group.publish().load()
    assert weights.version == 2
    assert_copied(weights, 3, 0)
    group.put(several.put_in(1, (0, 3)))
    assert [report.weights.version for report in group.reports(LONG)] == [3]


def assert_copied(weights: Any, new: int, old: int) -> None:
    """Check that two policies of the first stack have one network."""
    many = weights.stacks[0]
    left, right = many.policies.tolist().index(new), many.policies.tolist().index(old)
    for name, tensor in weights.tensors.items():
        if name.startswith("many/network"):
            np.testing.assert_array_equal(tensor[left], tensor[right])


def change_all(policies: Any, several: Any) -> None:
    policies.add(several.stack("many", 3), like=0)
    policies.add(several.recurrent(4), like=1)
    policies.add(several.stack("many", 5, overrides={5: {"gamma": 0.5}}), like=None)
    policies.freeze([0, 1])
    policies.thaw([1])
    policies.remove(2)


def test_changes_there_are_the_changes_here(network: Any, several: Any) -> None:
    there, here = There(network, several.plan()), Here(several.plan())
    for each in (there, here):
        each.group.update(several.put_in(0))
        change_all(each.policies, several)
        each.group.update(several.put_in(1))
        each.group.update(several.put_in(2, (3, 5)))
    assert there.policies.frozen == here.policies.frozen == {0}
    assert_same(tensors(there.group), tensors(here.group))
    assert_same(there.policies.policy_metrics(), here.policies.policy_metrics())
    weights = there.group.publish().load()
    assert [stack.policies.tolist() for stack in weights.stacks] == [[0, 3, 5], [1], [4]]
    assert [stack.versions.tolist() for stack in weights.stacks] == [[1, 7, 7], [7], [3]]


def test_no_change_is_lost_with_the_service(network: Any, several: Any) -> None:
    there, here = There(network, several.plan()), Here(several.plan())
    for each in (there, here):
        change_all(each.policies, several)
    network.pairs[-1].cut()
    for seed in range(2):
        for each in (there, here):
            each.group.update(several.put_in(seed, (0, 3)))  # 0 is frozen
    assert there.policies.frozen == here.policies.frozen == {0}
    assert_same(tensors(there.group), tensors(here.group))


def test_who_was_thawed_since_the_snapshot_trains_when_the_service_is_back(
    network: Any, several: Any
) -> None:
    there = There(network, several.plan(frozen=frozenset({0, 2})))
    there.policies.thaw([2])
    network.pairs[-1].cut()
    assert there.group.update(several.put_in(0))["num_env_steps_trained"] == 20.0
    assert there.policies.frozen == {0}


def test_a_copy_that_was_made_after_the_snapshot_is_what_it_was_when_it_was_made(
    network: Any, several: Any, caplog: pytest.LogCaptureFixture
) -> None:
    there, here = There(network, several.plan()), Here(several.plan())
    for each in (there, here):
        each.group.update(several.put_in(0))
        each.policies.add(several.stack("many", 3), like=0)
        each.policies.freeze([3])
    network.pairs[-1].cut()
    there.group.update(several.put_in(1))
    ours, theirs = here.group.publish().load(), there.group.publish().load()
    place = [stack.policies.tolist().index(3) for stack in (ours.stacks[0], theirs.stacks[0])]
    for name in (name for name in ours.tensors if name.startswith("many/")):
        np.testing.assert_array_equal(ours.tensors[name][place[0]], theirs.tensors[name][place[1]])
    assert there.group.statistics().num_lost_updates == 1
    assert "go back by 1 update, to their newest snapshot" in caplog.text


def test_a_newer_snapshot_has_the_changes_before_it(network: Any, several: Any) -> None:
    there, here = There(network, several.plan()), Here(several.plan())
    for each in (there, here):
        change_all(each.policies, several)
        each.group.update(several.put_in(0, (0, 3)))
        each.group.get_state()  # is kept
        each.policies.remove(1)
    network.pairs[-1].cut()
    for each in (there, here):
        each.group.update(several.put_in(1, (0, 3)))
    assert there.group.statistics().num_lost_updates == 0
    assert_same(tensors(there.group), tensors(here.group))


def test_rows_of_a_policy_that_came_and_went_since_the_snapshot_are_dropped(
    network: Any, several: Any
) -> None:
    there = There(network, several.plan())
    there.policies.add(several.stack("many", 3), like=0)
    there.policies.remove(3)
    network.pairs[-1].cut()
    assert there.group.update(several.put_in(0, (0, 3)))["num_env_steps_trained"] == 29.0


def test_versions_only_grow_where_changes_are_made_again(network: Any, several: Any) -> None:
    there = There(network, several.plan())
    seen = []
    for number in (3, 4, 5):
        there.policies.add(several.stack("many", number), like=None)
        seen.append(there.group.publish().version)
        network.pairs[-1].cut()
        there.group.update(several.put_in(number))
        seen.append(there.group.publish().version)
    assert seen == sorted(set(seen))
    assert there.group.statistics().num_lost_updates == 0 + 1 + 1


def test_a_change_that_nobody_answered_is_asked_for_again(network: Any, several: Any) -> None:
    there = There(network, several.plan())
    network.pairs[-1].cut()
    there.policies.add(several.stack("many", 3), like=2)
    network.pairs[-1].cut()
    assert "num_env_steps_trained" not in there.policies.policy_metrics()
    assert_copied(there.group.publish().load(), 3, 2)


def test_a_service_that_is_told_to_stop_hands_its_policies_over(network: Any, several: Any) -> None:
    there, here = There(network, several.plan()), Here(several.plan())
    for each in (there, here):
        each.group.update(several.put_in(0))
        change_all(each.policies, several)
        each.group.update(several.put_in(1))
    network.stop()
    network.start()
    for each in (there, here):
        each.group.update(several.put_in(2, (3, 5)))
    assert there.group.statistics().num_lost_updates == 0
    assert_same(tensors(there.group), tensors(here.group))


def test_a_state_of_all_policies_crosses_and_training_goes_on_from_it(network: Any, several: Any) -> None:
    there, here = There(network, several.plan()), Here(several.plan())
    for each in (there, here):
        each.group.update(several.put_in(0))
        change_all(each.policies, several)
    state = there.group.get_state()
    there.group.update(several.put_in(9, (3, 5)))
    there.policies.thaw([0])
    there.group.set_state(state)
    assert there.policies.frozen == {0}
    for each in (there, here):
        each.group.update(several.put_in(1, (3, 5)))
    assert_same(tensors(there.group), tensors(here.group))


def test_weights_of_policies_that_stand_still_cross_once(
    network: Any, several: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = There(network, several.plan()), Here(several.plan())
    for each in (there, here):
        each.policies.freeze([0, 1])
    came: list[int] = []
    read = there.group._session._with_changed

    def noted(message: session.LearnWeights, attachment: memoryview) -> Any:
        came.append(message.since)
        return read(message, attachment)

    monkeypatch.setattr(there.group._session, "_with_changed", noted)
    for seed in range(3):
        for each in (there, here):
            each.group.update(several.put_in(seed))
    assert came == [0, 1, 2]
    assert_same(tensors(there.group), tensors(here.group))
    network.pairs[-1].cut()
    there.group.update(several.put_in(3))
    assert came[3:] == [0, 4]


def test_who_starts_anew_gets_policies_that_nobody_has_changed(network: Any, several: Any) -> None:
    connection = ServiceConnection(network.dial, LONG)
    start = encode_tree({"plan": plan_message(several.plan()), "state": None})
    freeze = encode_tree({"call": "freeze", "numbers": [0]})
    connection.send(session.LearnStart(asynchronous=False), start.pieces())
    connection.send(session.LearnPolicies(1), freeze.pieces())
    connection.send(session.LearnStart(asynchronous=False), start.pieces())
    connection.send(session.LearnPolicies(2), encode_tree({"call": "policies"}).pieces())
    assert answer_to(2, connection)["frozen"] == []
    connection.close()


def answer_to(request: int, connection: ServiceConnection) -> Any:
    """Return what the service answers to a call."""
    while (taken := connection.take(LONG)) is not None:
        message, attachment = taken
        if message == session.LearnPoliciesAnswer(request):
            return decode_tree(attachment)
    raise AssertionError("the service said nothing")


def test_policies_that_train_by_themselves_are_back_before_the_fragments_that_were_not_trained_on(
    network: Any, several: Any
) -> None:
    made = several.plan_without_pause("appo", train_batch_size=80)
    group = network.async_group(made)
    policies = group.policies
    policies.add(several.stack("many", 3, algorithm="appo"), like=0)
    policies.freeze([0])
    group.put(several.put_in(0, (0, 3)))  # half of what an update takes
    network.pairs[-1].cut()
    assert group.room == 0
    assert group.reports(0.0) == []
    group.put(several.put_in(1, (0, 3)))
    (report,) = group.reports(LONG)
    assert (report.num_restarts, report.num_fragments, report.num_rows) == (1, 2, 80)
    assert policies.frozen == {0}
    many = group.publish().load().stacks[0]
    assert many.policies.tolist() == [0, 2, 3]
    assert many.versions[2] > many.versions[0] == many.versions[1]
