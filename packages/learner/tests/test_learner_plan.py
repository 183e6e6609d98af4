"""Plans and recipes cross to other processes as plain values."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from outrider.learner import LearnerGroupSettings, LearnerPlan, OneRank, PPOSettings
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.wire import BoxSpace, DiscreteSpace

RECIPE = PolicyRecipe(
    observation_space=BoxSpace(low=np.full(3, -1, np.float32), high=np.full(3, 1, np.float32)),
    action_space=DiscreteSpace(num_values=2),
    settings=ModuleSettings(fcnet_hiddens=(8,)),
    seed=5,
)


def plan() -> LearnerPlan:
    return LearnerPlan(
        algorithm="ppo",
        training=PPOSettings(lr=[[0, 1e-3], [100, 0.0]], num_epochs=2),
        policy=RECIPE,
        settings=LearnerGroupSettings(num_learners=2, custom_resources_per_learner={"arm": 0.5}),
        seed=7,
    )


def is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and is_plain(child) for key, child in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return type(value) in {str, int, float, bool, bytes, type(None)}


def test_a_plan_crosses_as_plain_values_and_makes_the_same_learner() -> None:
    message = plan().to_message()
    assert is_plain(message)
    there = LearnerPlan.from_message(message)
    learners = [each.make_learner(OneRank(), torch.device("cpu")) for each in (plan(), there)]
    left, right = (learner.publish().tensors for learner in learners)
    for name in left:
        np.testing.assert_array_equal(left[name], right[name])
    assert there.to_message() == message


def test_a_network_of_the_users_crosses_pickled_and_only_to_who_asks_for_it() -> None:
    recipe = PolicyRecipe(
        observation_space=RECIPE.observation_space,
        action_space=RECIPE.action_space,
        settings=RECIPE.settings,
        network=torch.nn.Identity,  # type: ignore[arg-type]
        seed=0,
    )
    with pytest.raises(ValueError, match="has no plain form"):
        recipe.to_message()
    message = recipe.to_message(dump=lambda network: network.__name__.encode())
    with pytest.raises(ValueError, match="No pickle is ever read"):
        PolicyRecipe.from_message(message)
    there = PolicyRecipe.from_message(message, load=lambda name: getattr(torch.nn, name.decode()))
    assert there.network is torch.nn.Identity  # type: ignore[comparison-overlap]


def test_a_rank_does_not_repeat_what_was_said_of_the_policy() -> None:
    recipe = replace(RECIPE, settings=ModuleSettings(fcnet_hiddens=(8,), lstm_cell_size=8))
    with pytest.warns(UserWarning, match="lstm_cell_size=8 is ignored"):
        recipe.build()
    replace(plan(), policy=recipe).make_learner(OneRank(), torch.device("cpu"))  # a warning would be an error
