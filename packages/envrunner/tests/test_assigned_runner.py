"""A farm makes the runner that it is asked for, of several agents as of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from outrider.envrunner.environments.environment import EnvironmentSettings, spaces_of
from outrider.envrunner.farm.assigned_runner import FarmEnvironment, mapping_called
from outrider.envrunner.farm.farm_runner import RefusedSettingsError
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.gateway.invitation import Invitation
from outrider.envrunner.gateway.team_message import read_team, team_message
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.sampling.runner_protocol import SamplingRunner
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.testing.duel import Duel, duel_plan, duel_weights
from outrider.testing.fragments import assert_same_fragment
from outrider.testing.stacked_mlp_graph import stacked_mlp_graph, stacked_mlp_weights
from outrider.wire import (
    AgentGroup,
    Agents,
    Fragment,
    Limits,
    WireError,
    decode_sample_response,
    encode_sample_response,
    encode_tree,
)
from outrider.wire.session import Assignment

FARM = FarmEnvironment(environment=EnvironmentSettings(Duel))


def by_function(agent: str, _: object) -> str:
    return {"red": "main", "blue": "old"}[agent]


def assigned(plan: MultiAgentPlan, index: int = 0) -> tuple[Assignment, memoryview]:
    """Return what a farm is sent."""
    invitation = Invitation(plan, plan.settings, Limits())
    assignment = invitation.assignment(index, 0, invitation.capabilities)
    received = decode_sample_response(encode_sample_response(assignment))
    assert isinstance(received, Assignment)
    return received, memoryview(b"".join(invitation.graph))


def sample(runner: SamplingRunner, plan: MultiAgentPlan) -> list[Fragment]:
    runner.set_weights(duel_weights(plan, version=0))
    fragments = [runner.sample() for _ in range(4)]
    runner.close()
    return fragments


PLANS = {
    "matchups": duel_plan(),
    "a function of the farm": duel_plan(mapping=by_function),
    "a central critic": duel_plan(has_central_critic=True),
    "not the first": duel_plan(first_runner=2),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_runner_on_a_farm_samples_what_one_of_the_run_does(plan: MultiAgentPlan) -> None:
    farm = replace(FARM, policy_mapping_fn=by_function)
    there = farm.make_runner(*assigned(plan, 1))
    for one, other in zip(sample(there, plan), sample(plan.make_runner(1, 0), plan), strict=True):
        assert_same_fragment(one, other)


def test_the_state_of_the_environment_is_what_critics_see() -> None:
    environment = EnvironmentSettings(partial(Duel, state_size=3))
    plan = duel_plan(environment, has_central_critic=True)
    fragment = sample(FarmEnvironment(environment=environment).make_runner(*assigned(plan)), plan)[0]
    assert fragment.critic_states[""].shape[1:] == (3,)


def test_copies_of_an_environment_of_one_agent_are_made() -> None:
    env = EnvironmentSettings("CartPole-v1")
    seen, done = spaces_of(env, "sync")
    graph = stacked_mlp_graph(seen, done, num_hidden=4)
    plan = MultiAgentPlan(
        environment=env,
        settings=EnvRunnerSettings(num_envs_per_env_runner=2),
        agents=("0", "1"),
        num_agents=2,
        stacks=(StackPlan(name="mlp", policy=graph),),
        policies=(PolicyEntry(name="main", number=0, stack="mlp"),),
        mapping=Matchups([(1.0, {"0": "main", "1": "main"})]),
        num_steps=4,
        seed=7,
        environment_agents=Agents(
            names=("0", "1"), groups=(AgentGroup(slots=(0, 1), observation_space=seen, action_space=done),)
        ),
    )
    there = FarmEnvironment(environment=env).make_runner(*assigned(plan, 1))
    weights = stacked_mlp_weights(graph, "mlp", [0])
    for runner in (there, here := plan.make_runner(1, 0)):
        runner.set_weights(weights)
    assert_same_fragment(there.sample(), here.sample())


def test_a_function_is_wanted_where_the_run_has_one() -> None:
    with pytest.raises(RefusedSettingsError, match="start it with --policy-mapping-fn module:function"):
        FARM.make_runner(*assigned(duel_plan(mapping=by_function)))


def test_matchups_of_the_run_come_before_a_function_of_the_farm() -> None:
    def nobody(*_: object) -> str:
        raise AssertionError("it was asked")

    plan = duel_plan()
    runner = replace(FARM, policy_mapping_fn=nobody).make_runner(*assigned(plan))
    assert sample(runner, plan)


@pytest.mark.parametrize(
    ("attached", "sentence"),
    [
        ({}, "lacks something: KeyError"),
        ([], "lacks something: TypeError"),
        ({"stacks": {"reds": 3}, "cast": {}}, "lacks something: TypeError"),
        ({"stacks": {}, "cast": {"stacks": [], "policies": [[1]], "mapping": None}}, "not enough values"),
        (
            {"stacks": {"reds": {"policy_graph": b"no", "is_stacked": True}}, "cast": {}},
            "this frame is refused",
        ),
    ],
)
def test_what_is_attached_is_read_with_care(attached: Any, sentence: str) -> None:
    assignment, _ = assigned(duel_plan())
    with pytest.raises((WireError, ValueError), match=sentence):
        FARM.make_runner(assignment, memoryview(encode_tree(attached).to_bytes()))


def test_a_pickled_function_is_not_taken() -> None:
    cast: Mapping[str, Any] = {
        "stacks": [["reds", "reds"]],
        "policies": [["main", 0, "reds"]],
        "mapping": {"function": {"pickle": b"x"}},
    }
    attached = encode_tree({"stacks": {}, "cast": cast}).to_bytes()
    assignment, _ = assigned(duel_plan())
    with pytest.raises(ValueError, match="pickle"):
        FARM.make_runner(assignment, memoryview(attached))


def test_a_function_is_found_by_its_name() -> None:
    assert mapping_called(None) is None
    assert mapping_called(f"{__name__}:by_function") is by_function


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("outrider.nowhere:f", "--policy-mapping-fn outrider.nowhere:f cannot be had: ModuleNotFoundError"),
        (f"{__name__}:nobody", "cannot be had: AttributeError"),
        (f"{__name__}:PLANS", "name a function that takes an agent and an episode"),
    ],
)
def test_a_function_that_is_not_there_is_named(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        mapping_called(name)


def test_names_of_thousands_of_policies_can_be_told() -> None:
    plan = duel_plan()
    more = [PolicyEntry(name=f"{number:0200}", number=number, stack="blues") for number in range(3, 6_000)]
    told = team_message(replace(plan, policies=(*plan.policies, *more)))
    _, cast = read_team(encode_tree(told).to_bytes())
    assert len(cast.policies) == 6_000
