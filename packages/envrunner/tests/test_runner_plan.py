"""Runners made of one plan are the same wherever they are made, and no incarnation replays another."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner import EnvironmentSettings, EnvRunner, EnvRunnerSettings, RunnerPlan
from outrider.testing.fragments import assert_same_fragment
from outrider.testing.runner_pool_conformance import pool_setup, weights_of
from outrider.wire import Fragment

SETUP = pool_setup()


def sample(runner: EnvRunner, version: int = 0) -> Fragment:
    runner.set_weights(weights_of(SETUP, version))
    return runner.sample()


def make_cart_pole(**config: Any) -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", **config)


def test_a_plan_survives_as_a_message_of_plain_values() -> None:
    message = SETUP.plan.to_message()
    assert_plain(message)
    there = RunnerPlan.from_message(message).make_runner(1, 0)
    assert_same_fragment(sample(there), sample(SETUP.plan.make_runner(1, 0)))


def test_a_message_leaves_out_what_only_the_fleet_obeys() -> None:
    placed = EnvRunnerSettings(
        num_env_runners=4, num_envs_per_env_runner=2, num_gpus_per_env_runner=0.5, sample_ahead=True
    )
    message = replace(SETUP.plan, settings=placed).to_message()
    assert message["settings"] == {"num_envs_per_env_runner": 2}


def test_a_plan_knows_how_much_a_runner_is_asked_for() -> None:
    assert SETUP.plan.num_rows == 20 * 3


def test_runners_of_a_plan_have_environments_of_their_own() -> None:
    environments = [sample(SETUP.plan.make_runner(index, 0)).streams.environment[0] for index in range(3)]
    assert environments == [0, 3, 6]


def test_a_plan_for_the_later_runners_of_a_run_makes_those() -> None:
    later = RunnerPlan.from_message(replace(SETUP.plan, first_runner=2).to_message())
    assert_same_fragment(sample(later.make_runner(1, 0)), sample(SETUP.plan.make_runner(3, 0)))


def test_an_environment_that_is_a_callable_is_pickled_only_where_that_is_asked_for() -> None:
    plan = replace(SETUP.plan, environment=EnvironmentSettings(make_cart_pole))
    with pytest.raises(ValueError, match="has no plain form"):
        plan.to_message()
    message = plan.to_message(dump=pickle.dumps)
    with pytest.raises(ValueError, match="No pickle is ever read from a network peer"):
        RunnerPlan.from_message(message)
    there = RunnerPlan.from_message(message, load=pickle.loads)
    assert_same_fragment(sample(there.make_runner(0, 0)), sample(SETUP.plan.make_runner(0, 0)))


def test_the_first_incarnation_is_the_runner_that_there_would_be_without_a_fleet() -> None:
    plain = EnvRunner(
        SETUP.environment,
        SETUP.settings,
        SETUP.plan.make_runner(0, 0)._policy,
        observation_space=SETUP.graph.observation_space,
        action_heads=SETUP.graph.action_heads,
        num_steps=SETUP.num_steps,
        seed=SETUP.seed,
    )
    assert_same_fragment(sample(plain), sample(SETUP.plan.make_runner(0, 0)))


def test_an_incarnation_is_the_same_whenever_it_is_made() -> None:
    assert_same_fragment(sample(SETUP.plan.make_runner(0, 2)), sample(SETUP.plan.make_runner(0, 2)))


def test_no_incarnation_plays_the_episodes_of_another() -> None:
    runners = [SETUP.plan.make_runner(index, incarnation) for index in range(2) for incarnation in range(4)]
    seeds = [seed for runner in runners for _ in range(5) for seed in runner._running._next_seeds()]
    assert len(set(seeds)) == len(seeds) == 2 * 4 * 5 * 3


def test_no_incarnation_draws_the_actions_of_another() -> None:
    noise = set()
    for incarnation in range(4):
        sampler = SETUP.plan.make_runner(0, incarnation)._sampler
        sampler.draw_noise(1, 3)
        noise.add(np.asarray(sampler._noise[0]).tobytes())
    assert len(noise) == 4


def test_a_runner_restored_elsewhere_is_the_incarnation_that_was_saved() -> None:
    saved, restored = SETUP.plan.make_runner(0, 2), SETUP.plan.make_runner(0, 0)
    sample(saved)
    restored.set_state(saved.get_state())
    assert_same_fragment(sample(saved, 1), sample(restored, 1))
    assert saved._running._next_seeds() == restored._running._next_seeds()


@dataclass
class Recipe:
    """A recipe for a policy that needs no torch to be made."""

    def build(self) -> Any:
        return SETUP.graph

    def to_message(self, dump: Callable[[Any], bytes] | None = None) -> dict[str, Any]:
        return {"network": "mine"}


def test_a_policy_that_cannot_be_exported_travels_as_its_recipe() -> None:
    message = replace(SETUP.plan, policy=Recipe()).to_message()
    assert message["policy_recipe"] == {"network": "mine"}
    assert "policy_graph" not in message


def assert_plain(value: Any) -> None:
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        value = list(value.values())
    if type(value) is list:
        for child in value:
            assert_plain(child)
    else:
        assert type(value) in {str, int, float, bool, bytes, type(None)}
