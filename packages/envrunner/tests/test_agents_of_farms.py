"""Whose environment has the agents of the run is let in; all others are told what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from time import process_time
from typing import Any

import pytest

from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.farm.assigned_runner import FarmEnvironment
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.gateway.agents_misfit import agents_misfit
from outrider.envrunner.gateway.invitation import Invitation
from outrider.envrunner.policies.matchups import Matchups
from outrider.testing.duel import Duel, duel_plan
from outrider.testing.runner_pool_conformance import pool_setup
from outrider.wire import Hello, Limits, Refusal, RefusalReason, session
from outrider.wire.session import Team

NEW = Hello(component="a farm", capabilities=frozenset({"multi_agent"}))
OLD = Hello(component="an old farm")
PLAN = duel_plan()
WITH_STATE = duel_plan(EnvironmentSettings(partial(Duel, state_size=3)), has_central_critic=True)
COPIES = replace(
    PLAN,
    agents=("0", "1"),
    num_agents=2,
    mapping=Matchups([(1.0, {"0": "main", "1": "old"})]),
    environment_agents=replace(
        PLAN.environment_agents,  # type: ignore[type-var]  # it is there
        names=("0", "1"),
        groups=(replace(PLAN.environment_agents.groups[0], slots=(0, 1)),),  # type: ignore[union-attr]
    ),
)


def join(env: Any = Duel, hello: Hello = NEW, **env_config: Any) -> session.Join:
    farm = FarmEnvironment(environment=EnvironmentSettings(env, env_config=env_config))
    return farm.join(hello, name="farm 1")


def refusal(plan: MultiAgentPlan | RunnerPlan, join: session.Join) -> Refusal | None:
    return Invitation(plan, plan.settings, Limits()).welcome(join, is_stranger=True).refusal


def sentence(plan: MultiAgentPlan | RunnerPlan, join: session.Join) -> str:
    refused = refusal(plan, join)
    assert refused is not None
    return refused.sentence


@pytest.mark.parametrize("plan", [PLAN, WITH_STATE], ids=["no state", "state"])
def test_who_has_the_same_environment_is_let_in(plan: MultiAgentPlan) -> None:
    assert refusal(plan, join(state_size=3)) is None


def test_many_agents_are_compared_at_once() -> None:
    agents, num_agents = PLAN.environment_agents, Limits().max_agents
    assert agents is not None
    ours, theirs = (
        replace(
            agents,
            names=tuple(f"{who} {number}" for number in range(num_agents)),
            groups=(replace(agents.groups[0], slots=tuple(range(num_agents))),),
        )
        for who in ("ours", "theirs")
    )
    began = process_time()
    found = agents_misfit(replace(join(), agents=theirs), ours, Team(agents=ours.names))
    assert process_time() - began < 1.0, "all others wait"
    assert found == (
        "the environment of a farm lacks agents 'ours 0', 'ours 1', 'ours 2', 'ours 3' and 65532 more of "
        "the run"
    )


def test_a_state_that_no_critic_sees_may_be_missing() -> None:
    plan = duel_plan(EnvironmentSettings(partial(Duel, state_size=3)))
    assert refusal(plan, join()) is None


OTHERS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "one agent": (
        {"env": "CartPole-v1"},
        "the environment of a farm has one agent, and that of the run has agents 'red', 'blue'; give both",
    ),
    "fewer": ({"agents": ("red",)}, "the environment of a farm lacks agent 'blue' of the run"),
    "others": ({"agents": ("green",)}, "the environment of a farm lacks agents 'red', 'blue' of the run"),
    "more": (
        {"agents": ("red", "green", "blue")},
        "the environment of a farm has agent 'green', which the run does not have",
    ),
    "order": (
        {"agents": ("blue", "red")},
        "has its agents in another order than the run: 'blue' stands where 'red' does",
    ),
    "actions": (
        {"num_actions": 3},
        "the action_space of agent 'red' of a farm differs from that of the run: num_values is 3 on the farm",
    ),
}


@pytest.mark.parametrize(("other", "expected"), OTHERS.values(), ids=OTHERS)
def test_who_has_other_agents_is_told_in_what_they_differ(other: Mapping[str, Any], expected: str) -> None:
    assert expected in sentence(PLAN, join(**other))


@pytest.mark.parametrize(
    ("state_size", "expected"),
    [(0, "there is none on the farm and a Box in the run"), (2, "shape is (2,) on the farm and (3,) in the")],
)
def test_a_central_critic_wants_its_state(state_size: int, expected: str) -> None:
    found = sentence(WITH_STATE, join(state_size=state_size))
    assert "the global state of a farm, which central critics see, differs" in found
    assert expected in found


def test_only_one_agents_spaces_are_compared_where_the_run_makes_copies() -> None:
    found = sentence(COPIES, join("CartPole-v1"))
    assert found.startswith("the observation_space of a farm differs from that of the run: shape is (4,) on")
    has_agents = sentence(COPIES, join())
    assert "the run has num_agents=2 copies of an environment of one agent" in has_agents
    assert "the environment of a farm has agents 'red', 'blue' of its own" in has_agents
    group = COPIES.environment_agents.groups[0]  # type: ignore[union-attr]
    alike = replace(
        join("CartPole-v1"),
        observation_space=group.observation_space,
        action_space=group.action_space,
    )
    assert refusal(COPIES, alike) is None


def test_a_farm_of_an_old_release_is_refused_by_capability() -> None:
    refused = refusal(PLAN, replace(join("CartPole-v1"), hello=OLD))
    assert refused is not None
    assert refused.reason is RefusalReason.CAPABILITY
    assert "needs multi_agent, which an old farm does not have; upgrade an old farm" in refused.sentence


def test_a_farm_with_several_agents_needs_a_run_that_knows_of_them() -> None:
    assert join().hello.required_capabilities == {"multi_agent"}
    assert not join("CartPole-v1").hello.required_capabilities


def test_a_run_with_one_policy_refuses_several_agents() -> None:
    found = sentence(pool_setup().plan, join())
    assert "the environment of a farm has several agents, 'red', 'blue', and the training run" in found
    assert "trains one policy for one agent; give both the same environment" in found


def by_function(agent: str, _: object) -> str:
    return {"red": "main", "blue": "old"}[agent]


def test_a_function_of_the_run_needs_one_of_the_farm() -> None:
    plan = replace(PLAN, mapping=by_function)
    assert "a farm has none; start the farm with --policy-mapping-fn module:function" in sentence(
        plan, join()
    )
    assert refusal(plan, replace(join(), maps_policies=True)) is None
    own = FarmEnvironment(environment=EnvironmentSettings(Duel), policy_mapping_fn=by_function)
    assert own.join(NEW, name="").maps_policies


class Recipe:
    """Stands for a policy that needs torch."""

    graph: Any = PLAN.stacks[1].policy
    observation_space, action_heads, state_spec = graph.observation_space, graph.action_heads, graph.state

    def build(self) -> Any:
        return self

    def fingerprint(self) -> str:
        return "torch"

    def to_message(self, dump: Any = None) -> dict[str, Any]:
        raise AssertionError(dump)


def test_policies_that_cannot_be_exported_are_for_runners_of_the_run() -> None:
    recipe: Any = Recipe()
    plan = replace(PLAN, stacks=(PLAN.stacks[0], StackPlan(name="blues", policy=recipe)))
    assert not Invitation(plan, plan.settings, Limits()).is_exported
    assert "trains policies that cannot be exported, with which a farm cannot act" in sentence(plan, join())
