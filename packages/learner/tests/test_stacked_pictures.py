"""Policies that see pictures, and networks of the user's own, learn together what they learn alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from outrider.learner import PPOLearner, PPOSettings, StackedPPOLearner
from outrider.rlmodule import ModuleSettings, PolicyRecipe, PolicyStack
from outrider.wire import BoxSpace, DiscreteSpace

ROWS = [[5, 2], [3], [4, 4]]
WHOLE = PPOSettings(minibatch_size=64, num_epochs=2, lr=1e-3)
"""A minibatch holds all rows of a policy, in whatever order."""


class Own(nn.Module):
    """A network of the user's own, with a convolution and a norm."""

    def __init__(self, observation_space: Any, action_space: Any, num_action_parameters: int) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.LayerNorm(4 * 16)
        self.policy, self.value = nn.Linear(64, num_action_parameters), nn.Linear(64, 1)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        features = torch.relu(self.convolution(picture.permute(0, 3, 1, 2) / 255.0))
        features = self.norm(features.flatten(1))
        return self.policy(features), self.value(features).squeeze(-1)


def recipe(side: int, network: Any = None) -> PolicyRecipe:
    shape = (side, side, 3)
    return PolicyRecipe(
        observation_space=BoxSpace(low=np.zeros(shape, np.uint8), high=np.full(shape, 255, np.uint8)),
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(),
        network=network,
        seed=0,
    )


def pictures(rows: Any, side: int) -> Any:
    """Make a picture of each row of three numbers."""
    brightness = np.linspace(20, 120, side * side).reshape(side, side, 1)
    return np.clip(np.abs(rows)[:, None, None, :] * brightness, 0, 255).astype(np.uint8)


def fragment(lab: Any, number: int, side: int) -> Any:
    flat = BoxSpace(low=np.full(3, -9, np.float32), high=np.full(3, 9, np.float32))
    made = lab.fragment(replace(recipe(side), observation_space=flat).build(), ROWS[number], seed=number)
    return replace(
        made,
        streams=replace(made.streams, policy=np.full(len(ROWS[number]), number, np.int32)),
        observations={"": pictures(made.observations[""], side)},
        next_observations={"": pictures(made.next_observations[""], side)},
    )


@pytest.mark.parametrize(
    ("side", "network"), [(36, None), (6, None), (6, Own)], ids=["nature", "impala", "own"]
)
def test_stacked_policies_learn_from_pictures_what_each_learns_alone(
    lab: Any, side: int, network: Any
) -> None:
    numbers = range(len(ROWS))
    fragments = [fragment(lab, number, side) for number in numbers]
    stack = PolicyStack(recipe(side, network), numbers)
    together = StackedPPOLearner(stack, WHOLE, numbers=numbers, seed=5)
    together.update(fragments)
    for number in numbers:
        alone = PPOLearner(replace(recipe(side, network), seed=number).build(), WHOLE, seed=1)
        alone.update([fragments[number]])
        learned = together.policy_state(number)["module"]
        for name, tensor in alone.get_state()["module"].items():
            np.testing.assert_allclose(learned[name], tensor, rtol=1e-5, atol=1e-5, err_msg=name)
