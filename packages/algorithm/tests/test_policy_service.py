"""What a learner service is asked for by a run with several policies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from outrider.algorithm import IMPALAConfig, PolicySpec, PPOConfig
from outrider.algorithm.assembly import policy_service
from outrider.learner.groups.learned_policies import PoliciesHere
from outrider.learner.plans.multi_agent_plan import Intake


class Group:
    """Notes what a group at a service is made of."""

    def __init__(self, plan: Any, **whereabouts: Any) -> None:
        self.plan, self.whereabouts = plan, whereabouts


class MadeError(Exception):
    """Ends a run that would begin."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Group]:
    """Return the groups that were asked for; no run begins."""
    groups: list[Group] = []

    def make(plan: Any, **whereabouts: Any) -> Group:
        groups.append(Group(plan, **whereabouts))
        raise MadeError

    for name in ("ServiceLearnerGroup", "ServiceAsyncLearnerGroup"):
        monkeypatch.setattr(policy_service, name, make)
    return groups


def config(of: Any, **learners: Any) -> Any:
    policies = {"0": None, "1": PolicySpec(training={"minibatch_size": 7, "lr": 0.5})}
    return (
        of.environment("CartPole-v1")
        .env_runners(num_envs_per_env_runner=2)
        .training(train_batch_size_per_learner=64)
        .learners(learner_address="127.0.0.1:1", **learners)
        .multi_agent(num_agents=2, policies=policies, policies_to_train=["1"])
        .debugging(seed=3)
    )


def test_it_is_asked_for_all_policies_of_the_run(asked: list[Group]) -> None:
    with pytest.raises(MadeError):
        config(PPOConfig()).build()
    (group,) = asked
    assert sorted(number for stack in group.plan.stacks for number in stack.seeds) == [0, 1]
    assert (group.plan.algorithm, group.plan.frozen, group.plan.intake) == ("ppo", {0}, None)
    assert group.whereabouts["address"] == "127.0.0.1:1"
    assert group.whereabouts["needs"] == frozenset()


def test_learners_that_train_by_themselves_take_in_what_the_run_says_and_not_what_one_stack_does(
    asked: list[Group],
) -> None:
    settings = config(IMPALAConfig()).training(max_staleness=5, learner_queue_size=3).settings
    plan = replace(of_run(asked), intake=None)
    with pytest.raises(MadeError):
        policy_service.async_policy_learners_at_service(plan, settings, num_env_steps_per_fragment=16)
    assert asked[-1].plan.intake == Intake(
        train_batch_size=64, num_env_steps_per_fragment=16, max_staleness=5, queue_capacity=3
    )


def of_run(asked: list[Group]) -> Any:
    with pytest.raises(MadeError):
        config(PPOConfig()).build()
    return asked[-1].plan


@pytest.mark.parametrize("num_learners", [2, "auto"])
def test_learners_beside_those_of_a_service_are_refused(num_learners: Any) -> None:
    with pytest.raises(ValueError, match=r"asks for learners beside those at learner_address='127.0.0.1:1'"):
        config(PPOConfig(), num_learners=num_learners).build()


def test_a_policy_that_a_service_refuses_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise ValueError("its network is not of a module that this learner service imports")

    with (
        PPOConfig()
        .environment("CartPole-v1")
        .training(train_batch_size_per_learner=16)
        .rl_module(fcnet_hiddens=(4,))
        .multi_agent(num_agents=1, policies=["0"])
        .build() as algorithm
    ):
        monkeypatch.setattr(PoliciesHere, "add", refuse)
        with pytest.raises(ValueError, match="its network is not of a module"):
            algorithm.add_policy("new")
        assert list(algorithm.policies) == ["0"]
        algorithm.train()
