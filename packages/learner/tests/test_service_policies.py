"""Several policies learn at a service what they learn here, and no change of them is lost with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
    MultiAgentPlan,
    OneRank,
    PPOSettings,
    StackPlan,
)
from outrider.learner.groups import introduction
from outrider.learner.groups.learned_policies import PoliciesHere
from outrider.learner.groups.multi_agent_plan import Intake
from outrider.learner.service.service_connection import ServiceConnection
from outrider.learner.service.service_plan import plan_message, stack_message
from outrider.learner.service.service_policies import ServicePolicies
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.transport import LocalFragment
from outrider.wire import BoxSpace, DiscreteSpace, decode_tree, encode_tree, session

CPU = torch.device("cpu")
LONG = 20.0
"""Seconds after which a wait is stuck; none of them is waited for."""
TRAINING = {
    "ppo": PPOSettings(minibatch_size=32, num_epochs=2, lr=1e-3),
    "impala": IMPALASettings(train_batch_size_per_learner=40),
    "appo": APPOSettings(train_batch_size_per_learner=40),
}
SETTINGS = LearnerGroupSettings(
    num_updates_between_snapshots=2, learner_timeout_s=LONG, learner_start_timeout_s=LONG
)
INTAKE = Intake(train_batch_size=40, num_env_steps_per_fragment=40, max_staleness=20, queue_capacity=2)


def stack(name: str, *numbers: int, algorithm: str = "ppo", **changes: Any) -> StackPlan:
    recipe = PolicyRecipe(
        observation_space=BoxSpace(low=np.full(3, -np.inf, np.float32), high=np.full(3, np.inf, np.float32)),
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(fcnet_hiddens=(8,), normalize_observations=True, normalize_rewards=True),
        seed=0,
    )
    seeds = {number: 10 + number for number in numbers}
    parts: dict[str, Any] = {"policy": recipe, "training": TRAINING[algorithm], "seeds": seeds}
    return StackPlan(name=name, **(parts | changes))


def recurrent(number: int, algorithm: str = "ppo") -> StackPlan:
    plain = stack(f"policy{number}", number, algorithm=algorithm, is_stacked=False)
    settings = ModuleSettings(fcnet_hiddens=(8,), use_lstm=True, lstm_cell_size=4)
    return replace(plain, policy=replace(plain.policy, settings=settings))


def plan(algorithm: str = "ppo", **changes: Any) -> MultiAgentPlan:
    """Return a stack of two and a recurrent policy of its own."""
    parts: dict[str, Any] = {"settings": SETTINGS, "seed": 5}
    many = stack("many", 0, 2, algorithm=algorithm, overrides={2: {"lr": 0.01}})
    parts["stacks"] = (many, recurrent(1, algorithm))
    return MultiAgentPlan(algorithm=algorithm, **(parts | changes))


@pytest.fixture
def put_in(lab: Any) -> Callable[..., list[LocalFragment]]:
    def fragments(seed: int, numbers: Sequence[int] = (0, 2)) -> list[LocalFragment]:
        many = acted(lab, [20, 11], numbers, seed, plan().stacks[0].policy)
        alone = acted(lab, [9], [1], seed + 50, plan().stacks[1].policy)
        return [LocalFragment(replace(many, others=(alone,)))]

    return fragments


def acted(lab: Any, lengths: Sequence[int], numbers: Sequence[int], seed: int, recipe: PolicyRecipe) -> Any:
    fragment = lab.fragment(recipe.build(), lengths, seed=seed)
    return replace(fragment, streams=replace(fragment.streams, policy=np.array(numbers, np.int32)))


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
        self.policies = ServicePolicies(self.group)


def tensors(group: Any) -> dict[str, Any]:
    return dict(group.publish().load().tensors)


def assert_same(left: Mapping[str, Any], right: Mapping[str, Any]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in right.items():
        np.testing.assert_array_equal(left[name], tensor, err_msg=name)


@pytest.mark.parametrize("algorithm", TRAINING)
def test_stacks_and_policies_alone_learn_the_bits_that_they_learn_here(
    network: Any, put_in: Any, algorithm: str
) -> None:
    there, here = There(network, plan(algorithm)), Here(plan(algorithm))
    for seed in range(3):
        left, right = there.group.update(put_in(seed)), here.group.update(put_in(seed))
        assert left["policy_loss"] == right["policy_loss"]
    assert_same(tensors(there.group), tensors(here.group))
    assert_same(there.policies.policy_metrics(), here.policies.policy_metrics())


@pytest.mark.parametrize("algorithm", ["impala", "appo"])
def test_policies_that_train_by_themselves_learn_the_bits_that_they_learn_here(
    network: Any, put_in: Any, algorithm: str
) -> None:
    made = plan(algorithm, intake=INTAKE)
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
            group.put(put_in(seed))
            (report,) = group.reports(LONG)
            assert (report.num_updates, report.num_fragments) == (1, 1)
    assert_same(tensors(there), tensors(here))
    here.close()


def test_a_change_between_updates_that_nobody_was_asked_for_is_made_after_all_of_them(
    network: Any, put_in: Any
) -> None:
    group = network.async_group(plan("impala", intake=INTAKE))
    policies = ServicePolicies(group)
    group.put(put_in(0))
    policies.add(stack("many", 3, algorithm="impala"), like=0)
    reports = list(group.reports(LONG))
    assert sum(report.num_updates for report in reports) == 1
    weights = group.publish().load()
    assert weights.version == 2
    assert_copied(weights, 3, 0)
    group.put(put_in(1, (0, 3)))
    assert [report.weights.version for report in group.reports(LONG)] == [3]


def assert_copied(weights: Any, new: int, old: int) -> None:
    """Check that two policies of the first stack have one network."""
    many = weights.stacks[0]
    left, right = many.policies.tolist().index(new), many.policies.tolist().index(old)
    for name, tensor in weights.tensors.items():
        if name.startswith("many/network"):
            np.testing.assert_array_equal(tensor[left], tensor[right])


def change_all(policies: Any) -> None:
    policies.add(stack("many", 3), like=0)
    policies.add(recurrent(4), like=1)
    policies.add(stack("many", 5, overrides={5: {"gamma": 0.5}}), like=None)
    policies.freeze([0, 1])
    policies.thaw([1])
    policies.remove(2)


def test_changes_there_are_the_changes_here(network: Any, put_in: Any) -> None:
    there, here = There(network, plan()), Here(plan())
    for each in (there, here):
        each.group.update(put_in(0))
        change_all(each.policies)
        each.group.update(put_in(1))
        each.group.update(put_in(2, (3, 5)))
    assert there.policies.frozen == here.policies.frozen == {0}
    assert_same(tensors(there.group), tensors(here.group))
    assert_same(there.policies.policy_metrics(), here.policies.policy_metrics())
    weights = there.group.publish().load()
    assert [stack.policies.tolist() for stack in weights.stacks] == [[0, 3, 5], [1], [4]]
    assert [stack.versions.tolist() for stack in weights.stacks] == [[1, 7, 7], [7], [3]]


def test_no_change_is_lost_with_the_service(network: Any, put_in: Any) -> None:
    there, here = There(network, plan()), Here(plan())
    for each in (there, here):
        change_all(each.policies)
    network.pairs[-1].cut()
    for seed in range(2):
        for each in (there, here):
            each.group.update(put_in(seed, (0, 3)))  # 0 is frozen
    assert there.policies.frozen == here.policies.frozen == {0}
    assert_same(tensors(there.group), tensors(here.group))


def test_who_was_thawed_since_the_snapshot_trains_when_the_service_is_back(network: Any, put_in: Any) -> None:
    there = There(network, plan(frozen=frozenset({0, 2})))
    there.policies.thaw([2])
    network.pairs[-1].cut()
    assert there.group.update(put_in(0))["num_env_steps_trained"] == 20.0
    assert there.policies.frozen == {0}


def test_a_copy_that_was_made_after_the_snapshot_is_what_it_was_when_it_was_made(
    network: Any, put_in: Any, caplog: pytest.LogCaptureFixture
) -> None:
    there, here = There(network, plan()), Here(plan())
    for each in (there, here):
        each.group.update(put_in(0))
        each.policies.add(stack("many", 3), like=0)
        each.policies.freeze([3])
    network.pairs[-1].cut()
    there.group.update(put_in(1))
    ours, theirs = here.group.publish().load(), there.group.publish().load()
    place = [stack.policies.tolist().index(3) for stack in (ours.stacks[0], theirs.stacks[0])]
    for name in (name for name in ours.tensors if name.startswith("many/")):
        np.testing.assert_array_equal(ours.tensors[name][place[0]], theirs.tensors[name][place[1]])
    assert there.group.statistics().num_lost_updates == 1
    assert "go back by 1 update, to their newest snapshot" in caplog.text


def test_a_newer_snapshot_has_the_changes_before_it(network: Any, put_in: Any) -> None:
    there, here = There(network, plan()), Here(plan())
    for each in (there, here):
        change_all(each.policies)
        each.group.update(put_in(0, (0, 3)))
        each.group.get_state()  # is kept
        each.policies.remove(1)
    network.pairs[-1].cut()
    for each in (there, here):
        each.group.update(put_in(1, (0, 3)))
    assert there.group.statistics().num_lost_updates == 0
    assert_same(tensors(there.group), tensors(here.group))


def test_rows_of_a_policy_that_came_and_went_since_the_snapshot_are_dropped(
    network: Any, put_in: Any
) -> None:
    there = There(network, plan())
    there.policies.add(stack("many", 3), like=0)
    there.policies.remove(3)
    network.pairs[-1].cut()
    assert there.group.update(put_in(0, (0, 3)))["num_env_steps_trained"] == 29.0


def test_versions_only_grow_where_changes_are_made_again(network: Any, put_in: Any) -> None:
    there = There(network, plan())
    seen = []
    for number in (3, 4, 5):
        there.policies.add(stack("many", number), like=None)
        seen.append(there.group.publish().version)
        network.pairs[-1].cut()
        there.group.update(put_in(number))
        seen.append(there.group.publish().version)
    assert seen == sorted(set(seen))
    assert there.group.statistics().num_lost_updates == 0 + 1 + 1


def test_a_change_that_nobody_answered_is_asked_for_again(network: Any) -> None:
    there = There(network, plan())
    network.pairs[-1].cut()
    there.policies.add(stack("many", 3), like=2)
    network.pairs[-1].cut()
    assert "num_env_steps_trained" not in there.policies.policy_metrics()
    assert_copied(there.group.publish().load(), 3, 2)


def test_a_service_that_is_told_to_stop_hands_its_policies_over(network: Any, put_in: Any) -> None:
    there, here = There(network, plan()), Here(plan())
    for each in (there, here):
        each.group.update(put_in(0))
        change_all(each.policies)
        each.group.update(put_in(1))
    network.stop()
    network.start()
    for each in (there, here):
        each.group.update(put_in(2, (3, 5)))
    assert there.group.statistics().num_lost_updates == 0
    assert_same(tensors(there.group), tensors(here.group))


def test_a_state_of_all_policies_crosses_and_training_goes_on_from_it(network: Any, put_in: Any) -> None:
    there, here = There(network, plan()), Here(plan())
    for each in (there, here):
        each.group.update(put_in(0))
        change_all(each.policies)
    state = there.group.get_state()
    there.group.update(put_in(9, (3, 5)))
    there.policies.thaw([0])
    there.group.set_state(state)
    assert there.policies.frozen == {0}
    for each in (there, here):
        each.group.update(put_in(1, (3, 5)))
    assert_same(tensors(there.group), tensors(here.group))


def test_what_cannot_be_changed_is_said_and_training_goes_on(network: Any, put_in: Any) -> None:
    there = There(network, plan())
    for call, sentence in (
        (lambda: there.policies.remove(7), "there is no policy 7; there are 0, 1, 2"),
        (lambda: there.policies.freeze([0, 9]), "there is no policy 9"),
        (lambda: there.policies.add(stack("many", 2), like=None), "policy number 2 was used already"),
        (lambda: there.policies.add(stack("many", 3), like=8), "there is no policy 8"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()
    assert there.policies.frozen == frozenset()
    assert there.group.update(put_in(0))["num_env_steps_trained"] == 40.0


def test_learners_that_train_by_themselves_go_on_where_a_change_cannot_be_made(
    network: Any, put_in: Any
) -> None:
    group = network.async_group(plan("impala", intake=INTAKE))
    policies = ServicePolicies(group)
    with pytest.raises(ValueError, match="there is no policy 7"):
        policies.remove(7)
    policies.freeze([0])
    group.put(put_in(0))
    assert group.reports(20.0)


def test_networks_go_by_their_names_with_each_stack(network: Any) -> None:
    lone = recurrent(1)
    nameless = replace(lone, policy=replace(lone.policy, network=lambda *_: torch.nn.Identity()))
    with pytest.raises(ValueError, match="put the function or class at the top level of a module"):
        network.group(plan(stacks=(stack("many", 0), nameless)))
    assert not network.pairs
    named = replace(lone, policy=replace(lone.policy, network=torch.nn.Identity))
    assert plan_message(plan(stacks=(named,)))["stacks"][0]["network"] == "torch.nn.modules.linear:Identity"
    with pytest.raises(
        ValueError, match=r"refused: the network 'torch.nn.modules.linear:Identity' is not of"
    ):
        network.group(plan(stacks=(named,)))


def test_a_service_of_the_previous_release_is_refused_in_a_sentence(
    network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outrider.learner.service.served_run.introduction", of_one_policy)
    with pytest.raises(ValueError, match=r"needs learned_policies, which a learner service .* not have; upg"):
        network.group(plan())


def of_one_policy(who: str) -> Any:
    return replace(introduction.introduction(who), capabilities=frozenset({"multi_agent"}))


def test_a_run_of_the_previous_release_is_trained(
    network: Any, monkeypatch: pytest.MonkeyPatch, lab: Any
) -> None:
    monkeypatch.setattr(
        "outrider.learner.service.service_connection.introduction", lambda who, _: of_one_policy(who)
    )
    many = stack("many", 0)
    one = LearnerPlan(algorithm="ppo", training=many.training, policy=many.policy, settings=SETTINGS, seed=1)
    group = network.group(one)
    assert group.update([LocalFragment(lab.fragment(many.policy.build(), [30]))])


def test_ppo_of_several_policies_does_not_train_by_itself(network: Any) -> None:
    with pytest.raises(ValueError, match="refused: ppo does not train by itself"):
        network.async_group(plan())


def ended_by(network: Any, *said: tuple[Any, Any], made: Any = None) -> str:
    """Start a run, say things with a tree attached, and return the sentence that it is ended with."""
    connection = ServiceConnection(network.dial, LONG)
    start = {"plan": plan_message(plan()) if made is None else made, "state": None}
    connection.send(session.LearnStart(asynchronous=False), encode_tree(start).pieces())
    for message, tree in said:
        connection.send(message, encode_tree(tree).pieces())
    try:
        while connection.take(LONG):
            pass
    except (RuntimeError, ValueError) as error:
        return str(error)
    raise AssertionError("the service said nothing")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (None, "'None' is nothing that can be asked of policies"),
        ({"call": "delete_everything"}, "'delete_everything' is nothing that can be asked"),
        ({"call": "add", "like": 0}, "'add' is nothing that can be asked of policies, or came without what"),
        ({"call": "remove"}, "or came without what belongs to it"),
        (
            {"call": "add", "stack": stack_message(stack("many", 3)), "like": None, "state": {"module": 3}},
            "policy 3 cannot go on from the state that came: KeyError('counters')",
        ),
    ],
)
def test_who_asks_what_nobody_asks_is_told_so(
    network: Any, caplog: pytest.LogCaptureFixture, call: Any, sentence: str
) -> None:
    caplog.set_level(logging.ERROR)
    assert sentence in ended_by(network, (session.LearnPolicies(1), call))
    network.group(plan()).close()


def told(network: Any, call: dict[str, Any]) -> str:
    """Return the sentence that a call is answered with."""
    with pytest.raises(ValueError, match=r".") as caught:
        network.group(plan()).ask_policies(call, lambda _: None)
    return str(caught.value)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ({"call": "freeze", "numbers": ["0"]}, "a policy has the number '0'; numbers are whole, from 0"),
        ({"call": "thaw", "numbers": [2**40]}, "a policy has the number 1099511627776; numbers are whole"),
        ({"call": "remove", "number": True}, "a policy has the number True"),
        ({"call": "add", "stack": {}, "like": None, "state": None}, "what came is no plan of learners"),
        (
            {"call": "add", "stack": stack_message(stack("many", 3, 4)), "like": None, "state": None},
            "2 policies came to be added; add them one by one",
        ),
        (
            {"call": "add", "stack": stack_message(stack("many", 10**6)), "like": None, "state": None},
            "a policy has the number 1000000",
        ),
        (
            {"call": "add", "stack": stack_message(stack("many", 3)), "like": "x", "state": None},
            "a policy has the number 'x'",
        ),
    ],
)
def test_a_change_that_nobody_could_make_is_answered(
    network: Any, call: dict[str, Any], sentence: str
) -> None:
    assert sentence in told(network, call)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stacks": []}, "there is no policy to train"),
        ({"stacks": 7}, "no plan of learners"),
        (
            {"stacks": [stack_message(stack("a", 0)), stack_message(stack("a", 1))]},
            "two stacks have one name",
        ),
        (
            {"stacks": [stack_message(stack("a", 0)), stack_message(stack("b", 0))]},
            "a policy number is in two",
        ),
        ({"stacks": [stack_message(stack("a/b", 0))]}, "a stack is called 'a/b'"),
        ({"stacks": [stack_message(stack("x" * 201, 0))]}, "of 1 to 200 characters"),
        ({"stacks": [stack_message(stack("a", 2**31))]}, "a policy has the number 2147483648"),
        ({"stacks": [stack_message(stack("a", 0, seeds={0: -1}))]}, "policy 0 has the seed -1"),
        (
            {"stacks": [stack_message(stack("a", 0, overrides={1: {"lr": 1.0}}))]},
            "settings of policy 1, which",
        ),
        ({"stacks": [stack_message(stack("a", 0, overrides={0: {"x": 1.0}}))]}, "sets x for itself"),
        (
            {"stacks": [stack_message(stack("a", 0, 1)) | {"is_stacked": False}]},
            "stack 'a' has 2 policies that are not computed together",
        ),
        ({"frozen": [9]}, "policy 9 is to be frozen and in no stack"),
        ({"algorithm": "dqn"}, "dqn"),
        ({"intake": {"train_batch_size": 0}}, "came without 'num_env_steps_per_fragment'"),
    ],
)
def test_a_plan_that_nobody_could_train_is_refused_and_the_next_run_is_served(
    network: Any, caplog: pytest.LogCaptureFixture, changes: dict[str, Any], sentence: str
) -> None:
    caplog.set_level(logging.ERROR)
    assert sentence in ended_by(network, made=plan_message(plan()) | changes)
    network.group(plan()).close()


def test_more_policies_than_a_service_trains_are_refused_before_any_is_made(
    network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outrider.learner.service.stack_checks.MAX_POLICIES", 3)
    with pytest.raises(ValueError, match="there would be 4 policies, and a learner service trains up to 3"):
        network.group(plan(stacks=(stack("many", 0, 1, 2, 3),)))
    policies = ServicePolicies(network.group(plan()))
    with pytest.raises(ValueError, match="there would be 4 policies"):
        policies.add(stack("many", 3), like=None)


def test_rows_of_a_policy_that_there_never_was_end_the_run_in_a_sentence(network: Any, put_in: Any) -> None:
    group = network.group(plan())
    with pytest.raises(
        RuntimeError, match="there are rows of policy 7, which no learner has; there are 0, 1"
    ):
        group.update(put_in(0, (0, 7)))


def test_policies_are_not_asked_for_where_there_is_one(network: Any) -> None:
    many = stack("many", 0)
    one = LearnerPlan(algorithm="ppo", training=many.training, policy=many.policy, settings=SETTINGS, seed=1)
    said = (session.LearnPolicies(1), {"call": "policies"})
    assert "policies were asked for of learners that have one" in ended_by(
        network, said, made=plan_message(one)
    )


def test_weights_of_policies_that_stand_still_cross_once(
    network: Any, put_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = There(network, plan()), Here(plan())
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
            each.group.update(put_in(seed))
    assert came == [0, 1, 2]
    assert_same(tensors(there.group), tensors(here.group))
    network.pairs[-1].cut()
    there.group.update(put_in(3))
    assert came[3:] == [0, 4]


def test_who_starts_anew_gets_policies_that_nobody_has_changed(network: Any) -> None:
    connection = ServiceConnection(network.dial, LONG)
    start = encode_tree({"plan": plan_message(plan()), "state": None})
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
    network: Any, put_in: Any
) -> None:
    made = replace(plan("appo"), intake=replace(INTAKE, train_batch_size=80))
    group = network.async_group(made)
    policies = ServicePolicies(group)
    policies.add(stack("many", 3, algorithm="appo"), like=0)
    policies.freeze([0])
    group.put(put_in(0, (0, 3)))  # half of what an update takes
    network.pairs[-1].cut()
    assert group.room == 0
    assert group.reports(0.0) == []
    group.put(put_in(1, (0, 3)))
    (report,) = group.reports(LONG)
    assert (report.num_restarts, report.num_fragments, report.num_rows) == (1, 2, 80)
    assert policies.frozen == {0}
    many = group.publish().load().stacks[0]
    assert many.policies.tolist() == [0, 2, 3]
    assert many.versions[2] > many.versions[0] == many.versions[1]
