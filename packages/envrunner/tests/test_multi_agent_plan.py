"""Runners of several agents made of one plan are the same everywhere, and go on where they were."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.fleet.plan_message import plan_from_message
from outrider.envrunner.fleet.pool import LocalRunnerPool
from outrider.envrunner.policies.cast import Cast
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.sampling.runner_protocol import SamplingRunner
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.testing.fragments import assert_same_fragment
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.testing.stacked_mlp_graph import stacked_mlp_graph, stacked_mlp_weights
from outrider.transport import LocalWeights
from outrider.wire import Fragment, Weights, WeightsStack, all_parts
from outrider.wire.fragment_checks import check_fragment

SPACES = [
    space_from_gymnasium(space)
    for space in (gym.make("CartPole-v1").observation_space, gym.make("CartPole-v1").action_space)
]
STACKED = stacked_mlp_graph(*SPACES, num_hidden=4)
SOLE = mlp_graph(*SPACES, num_hidden=4)
PLAN = MultiAgentPlan(
    environment=EnvironmentSettings("CartPole-v1"),
    settings=EnvRunnerSettings(num_envs_per_env_runner=2, num_env_runners=3),
    agents=("0", "1", "2"),
    num_agents=3,
    stacks=(StackPlan(name="many", policy=STACKED), StackPlan(name="one", policy=SOLE, is_stacked=False)),
    policies=(
        PolicyEntry(name="a", number=0, stack="many"),
        PolicyEntry(name="b", number=1, stack="one"),
        PolicyEntry(name="c", number=2, stack="many"),
    ),
    mapping=Matchups([(1.0, {"0": "a", "1": "b", "2": "c"}), (1.0, {"0": "c", "1": "b", "2": "c"})]),
    num_steps=30,
    seed=3,
)


def weights(version: int = 0) -> Weights:
    many = stacked_mlp_weights(STACKED, "many", [0, 2], version=version)
    stack = WeightsStack(
        name="one",
        fingerprint=SOLE.fingerprint,
        policies=np.array([1], np.int32),
        versions=np.array([version], np.int64),
    )
    sole = {f"one/{name}": tensor[None] for name, tensor in mlp_weights(SOLE, seed=version).tensors.items()}
    return replace(many, tensors={**many.tensors, **sole}, stacks=(*many.stacks, stack))


def sample(runner: SamplingRunner, version: int = 0) -> Fragment:
    runner.set_weights(weights(version))
    return runner.sample()


def assert_same(one: Fragment, other: Fragment) -> None:
    for part, there in zip(all_parts(one), all_parts(other), strict=True):
        check_fragment(part)
        assert_same_fragment(part, there)


def by_number(agent: str, _: object) -> str:
    return {"0": "a", "1": "b", "2": "c"}[agent]


def test_a_plan_survives_as_a_message_of_plain_values() -> None:
    message = PLAN.to_message()
    assert_plain(message)
    there = plan_from_message(message).make_runner(1, 0)
    assert_same(sample(there), sample(PLAN.make_runner(1, 0)))


def test_a_message_leaves_out_what_only_the_fleet_obeys() -> None:
    assert PLAN.to_message()["settings"] == {"num_envs_per_env_runner": 2}


def test_a_mapping_function_is_pickled_only_where_that_is_asked_for() -> None:
    plan = replace(PLAN, mapping=by_number)
    with pytest.raises(ValueError, match="by_number"):
        plan.to_message()
    message = plan.to_message(pickle.dumps)
    with pytest.raises(ValueError, match="pickle"):
        plan_from_message(message)
    there = plan_from_message(message, pickle.loads).make_runner(0, 0)
    assert_same(sample(there), sample(plan.make_runner(0, 0)))


def test_incarnations_of_a_runner_play_other_episodes() -> None:
    first, second = (sample(PLAN.make_runner(0, incarnation)) for incarnation in (0, 1))
    assert (first.observations[""][0] != second.observations[""][0]).any()


def test_a_pool_in_this_process_samples_with_it() -> None:
    pool = LocalRunnerPool(PLAN.make_runner(0, 0), PLAN.make_runner(1, 0))
    fragments = [reference.load() for reference in pool.sample(LocalWeights(weights()))]
    assert [set(each.streams.environment.tolist()) for each in fragments] == [{0, 1}, {2, 3}]
    assert [part.streams.policy.tolist() for part in fragments[0].others] == [[1, 1]]
    pool.close()


def test_episodes_begin_anew_where_the_state_of_environments_is_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runner = PLAN.make_runner(0, 0)
    sample(runner)
    state = runner.get_state()
    state["environment"] = None
    resumed = PLAN.make_runner(0, 0)
    resumed.set_state(state)
    fragment = sample(resumed, 1)
    assert fragment.num_rows
    assert "their episodes start afresh" in caplog.text


def test_a_runner_goes_on_where_it_was() -> None:
    plan = replace(PLAN, settings=replace(PLAN.settings, gym_env_vectorize_mode="vector_entry_point"))
    runner = plan.make_runner(0, 0)
    for version in range(2):
        sample(runner, version)
    state = pickle.loads(pickle.dumps(runner.get_state()))
    assert state["environment"] is not None
    resumed = plan.make_runner(0, 0)
    sample(resumed, 5)
    resumed.set_state(state)
    for version in range(2, 5):
        assert_same(sample(resumed, version), sample(runner, version))


def test_agents_whose_spaces_differ_cannot_share_a_policy() -> None:
    other = stacked_mlp_graph(space_from_gymnasium(gym.spaces.Box(-1, 1, (7,), np.float32)), SPACES[1])
    plan = replace(PLAN, stacks=(*PLAN.stacks, StackPlan(name="else", policy=other)))
    with pytest.raises(
        ValueError, match=r"policies of stack 'else' fit no agent: the agent observes float32\[4\]"
    ):
        plan.make_runner(0, 0)


CAST = Cast(
    stacks={"many": "many", "policy3": "one"},
    policies=(
        PolicyEntry(name="a", number=0, stack="many"),
        PolicyEntry(name="d", number=3, stack="policy3"),
    ),
    mapping=Matchups(((1.0, {"0": "a", "1": "d", "2": "a"}),)),
)


def test_a_cast_survives_as_a_message_of_plain_values() -> None:
    message = CAST.to_message()
    assert_plain(message)
    assert Cast.from_message(message) == CAST


def test_a_runner_that_is_told_of_a_cast_plays_it_once_weights_have_come() -> None:
    runner = PLAN.make_runner(0, 0)
    sample(runner)
    runner.set_state({"cast": CAST.to_message()})
    assert runner.version is None
    sole = {"policy3" + name.removeprefix("one"): tensor for name, tensor in weights(1).tensors.items()}
    sole = {name: tensor for name, tensor in sole.items() if name.startswith("policy3/")}
    later = weights(1)
    stack = replace(later.stacks[1], name="policy3", policies=np.array([3], np.int32))
    tensors = {name: tensor for name, tensor in later.tensors.items() if name.startswith("many/")} | sole
    runner.set_weights(replace(later, tensors=tensors, stacks=(later.stacks[0], stack)))
    fragment = runner.sample()  # those who played are gone: all episodes began anew
    assert {number for part in all_parts(fragment) for number in part.streams.policy.tolist()} == {0, 3}


def test_a_cast_with_an_architecture_that_the_plan_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="the plan has no stack 'else'; it has many, one"):
        PLAN.recast(replace(CAST, stacks={"many": "else"}))


def test_a_function_is_in_no_message_where_pickles_are_not_read() -> None:
    assert replace(CAST, mapping=None).to_message()["mapping"] is None
    with pytest.raises(ValueError, match="by_number"):
        replace(CAST, mapping=by_number).to_message()


def test_those_who_may_play_are_known_before_unless_a_function_says_so() -> None:
    assert PLAN.played() == {0, 1, 2}
    assert PLAN.recast(CAST).played() == {0, 3}
    assert replace(PLAN, mapping=by_number).played() is None


def assert_plain(value: Any) -> None:
    assert type(value) in {dict, list, str, int, float, bool, bytes, type(None)}
    if isinstance(value, Mapping):
        for key, child in value.items():
            assert type(key) is str
            assert_plain(child)
    elif isinstance(value, list):
        for child in value:
            assert_plain(child)
