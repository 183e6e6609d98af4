"""What nobody could ask of policies at a service is refused in a sentence, and the service goes on."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
import torch

from outrider.learner.groups import introduction
from outrider.learner.service.service_connection import ServiceConnection
from outrider.learner.service.service_plan import plan_message
from outrider.wire import encode_tree, session

LONG = 20.0
"""Seconds after which a wait is stuck; none of them is waited for."""

Call: TypeAlias = Callable[[Any], Any]
"""Makes what is said, out of several policies."""


def test_what_cannot_be_changed_is_said_and_training_goes_on(network: Any, several: Any) -> None:
    group = network.group(several.plan())
    policies = group.policies
    for call, sentence in (
        (lambda: policies.remove(7), "there is no policy 7; there are 0, 1, 2"),
        (lambda: policies.freeze([0, 9]), "there is no policy 9"),
        (lambda: policies.add(several.stack("many", 2), like=None), "policy number 2 was used already"),
        (lambda: policies.add(several.stack("many", 3), like=8), "there is no policy 8"),
    ):
        with pytest.raises(ValueError, match=sentence):
            call()
    assert policies.frozen == frozenset()
    assert group.update(several.put_in(0))["num_env_steps_trained"] == 40.0


def test_learners_that_train_by_themselves_go_on_where_a_change_cannot_be_made(
    network: Any, several: Any
) -> None:
    group = network.async_group(several.plan_without_pause("impala"))
    policies = group.policies
    with pytest.raises(ValueError, match="there is no policy 7"):
        policies.remove(7)
    policies.freeze([0])
    group.put(several.put_in(0))
    assert group.reports(20.0)


def test_networks_go_by_their_names_with_each_stack(network: Any, several: Any) -> None:
    lone = several.recurrent(1)
    nameless = replace(lone, policy=replace(lone.policy, network=lambda *_: torch.nn.Identity()))
    with pytest.raises(ValueError, match="put the function or class at the top level of a module"):
        network.group(several.plan(stacks=(several.stack("many", 0), nameless)))
    assert not network.pairs
    named = replace(lone, policy=replace(lone.policy, network=torch.nn.Identity))
    assert (
        plan_message(several.plan(stacks=(named,)))["stacks"][0]["network"]
        == "torch.nn.modules.linear:Identity"
    )
    with pytest.raises(
        ValueError, match=r"refused: the network 'torch.nn.modules.linear:Identity' is not of"
    ):
        network.group(several.plan(stacks=(named,)))


def test_a_service_of_the_previous_release_is_refused_in_a_sentence(
    network: Any, several: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outrider.learner.service.served_run.introduction", of_one_policy)
    with pytest.raises(ValueError, match=r"needs learned_policies, which a learner service .* not have; upg"):
        network.group(several.plan())


def of_one_policy(who: str) -> Any:
    return replace(introduction.introduction(who), capabilities=frozenset({"multi_agent"}))


def test_a_run_of_the_previous_release_is_trained(
    network: Any, one: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "outrider.learner.service.service_connection.introduction", lambda who, _: of_one_policy(who)
    )
    assert network.group(one.plan()).update(one.put_in(0))


def test_ppo_of_several_policies_does_not_train_by_itself(network: Any, several: Any) -> None:
    with pytest.raises(ValueError, match="refused: ppo does not train by itself"):
        network.async_group(several.plan())


def ended_by(network: Any, made: Any, *said: tuple[Any, Any]) -> str:
    """Start a run, say things with a tree attached, and return the sentence that it is ended with."""
    connection = ServiceConnection(network.dial, LONG)
    start = {"plan": made, "state": None}
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
        (lambda several: None, "'None' is nothing that can be asked of policies"),
        (lambda several: {"call": "delete_everything"}, "'delete_everything' is nothing that can be asked"),
        (
            lambda several: {"call": "add", "like": 0},
            "'add' is nothing that can be asked of policies, or came without what",
        ),
        (lambda several: {"call": "remove"}, "or came without what belongs to it"),
        (
            lambda several: {
                "call": "add",
                "stack": several.message("many", 3),
                "like": None,
                "state": {"module": 3},
            },
            "policy 3 cannot go on from the state that came: KeyError('counters')",
        ),
    ],
)
def test_who_asks_what_nobody_asks_is_told_so(
    network: Any, several: Any, caplog: pytest.LogCaptureFixture, call: Call, sentence: str
) -> None:
    caplog.set_level(logging.ERROR)
    assert sentence in ended_by(
        network, plan_message(several.plan()), (session.LearnPolicies(1), call(several))
    )
    network.group(several.plan()).close()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda several: {"call": "freeze", "numbers": ["0"]},
            "a policy has the number '0'; numbers are whole, from 0",
        ),
        (
            lambda several: {"call": "thaw", "numbers": [2**40]},
            "a policy has the number 1099511627776; numbers are whole",
        ),
        (lambda several: {"call": "remove", "number": True}, "a policy has the number True"),
        (
            lambda several: {"call": "add", "stack": {}, "like": None, "state": None},
            "what came is no plan of learners",
        ),
        (
            lambda several: {
                "call": "add",
                "stack": several.message("many", 3, 4),
                "like": None,
                "state": None,
            },
            "2 policies came to be added; add them one by one",
        ),
        (
            lambda several: {
                "call": "add",
                "stack": several.message("many", 10**6),
                "like": None,
                "state": None,
            },
            "a policy has the number 1000000",
        ),
        (
            lambda several: {"call": "add", "stack": several.message("many", 3), "like": "x", "state": None},
            "a policy has the number 'x'",
        ),
    ],
)
def test_a_change_that_nobody_could_make_is_answered(
    network: Any, several: Any, call: Call, sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        network.group(several.plan()).policies.ask(call(several))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (lambda several: {"stacks": []}, "there is no policy to train"),
        (lambda several: {"stacks": 7}, "no plan of learners"),
        (
            lambda several: {"stacks": [several.message("a", 0), several.message("a", 1)]},
            "two stacks have one name",
        ),
        (
            lambda several: {"stacks": [several.message("a", 0), several.message("b", 0)]},
            "a policy number is in two",
        ),
        (lambda several: {"stacks": [several.message("a/b", 0)]}, "a stack is called 'a/b'"),
        (lambda several: {"stacks": [several.message("x" * 201, 0)]}, "of 1 to 200 characters"),
        (lambda several: {"stacks": [several.message("a", 2**31)]}, "a policy has the number 2147483648"),
        (lambda several: {"stacks": [several.message("a", 0, seeds={0: -1})]}, "policy 0 has the seed -1"),
        (
            lambda several: {"stacks": [several.message("a", 0, overrides={1: {"lr": 1.0}})]},
            "settings of policy 1, which",
        ),
        (
            lambda several: {"stacks": [several.message("a", 0, overrides={0: {"x": 1.0}})]},
            "sets x for itself",
        ),
        (
            lambda several: {"stacks": [several.message("a", 0, 1) | {"is_stacked": False}]},
            "stack 'a' has 2 policies that are not computed together",
        ),
        (lambda several: {"frozen": [9]}, "policy 9 is to be frozen and in no stack"),
        (lambda several: {"algorithm": "dqn"}, "dqn"),
        (lambda several: {"intake": {"train_batch_size": 0}}, "came without 'num_env_steps_per_fragment'"),
    ],
)
def test_a_plan_that_nobody_could_train_is_refused_and_the_next_run_is_served(
    network: Any, several: Any, caplog: pytest.LogCaptureFixture, changes: Call, sentence: str
) -> None:
    caplog.set_level(logging.ERROR)
    assert sentence in ended_by(network, plan_message(several.plan()) | changes(several))
    network.group(several.plan()).close()


def test_more_policies_than_a_service_trains_are_refused_before_any_is_made(
    network: Any, several: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outrider.learner.service.stack_checks.MAX_POLICIES", 3)
    with pytest.raises(ValueError, match="there would be 4 policies, and a learner service trains up to 3"):
        network.group(several.plan(stacks=(several.stack("many", 0, 1, 2, 3),)))
    policies = network.group(several.plan()).policies
    with pytest.raises(ValueError, match="there would be 4 policies"):
        policies.add(several.stack("many", 3), like=None)


def test_rows_of_a_policy_that_there_never_was_end_the_run_in_a_sentence(network: Any, several: Any) -> None:
    group = network.group(several.plan())
    with pytest.raises(
        RuntimeError, match="there are rows of policy 7, which no learner has; there are 0, 1"
    ):
        group.update(several.put_in(0, (0, 7)))


def test_policies_are_not_asked_for_where_there_is_one(network: Any, one: Any) -> None:
    said = (session.LearnPolicies(1), {"call": "policies"})
    assert "policies were asked for of learners that have one" in ended_by(
        network, plan_message(one.plan()), said
    )
