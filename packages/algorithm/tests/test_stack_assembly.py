"""How policies of one architecture act is settled by what their network can be turned into."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from outrider.algorithm.policies.policy_plan import PlannedStack
from outrider.algorithm.policies.stack_assembly import StackAssembly
from outrider.envrunner.policies.stack_policy import StackPolicy
from outrider.envrunner.policies.torch_stack_policy import TorchStackPolicy
from outrider.learner import PPOSettings
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.wire import BoxSpace, DiscreteSpace, PolicyGraph

FLAT = BoxSpace(low=np.full(4, -1, np.float32), high=np.full(4, 1, np.float32))
PICTURE = BoxSpace(low=np.zeros((8, 8, 3), np.uint8), high=np.full((8, 8, 3), 255, np.uint8))
TWO, ONE = ("a", "b"), ("a",)


class Plain(nn.Module):
    """A network of the user's own, for others to vary."""

    def __init__(self, observation_space: Any, action_space: Any, num_action_parameters: int) -> None:
        super().__init__()
        self.policy, self.value = nn.Linear(4, num_action_parameters), nn.Linear(4, 1)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy(observation), self.value(observation).squeeze(-1)


class Unknown(Plain):
    """Does what torch knows, and ONNX does not."""

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(torch.erfinv(0.5 * observation))


class Tied(Plain):
    """Uses one parameter in two places, which has a graph but cannot be stacked."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.again = self.policy


def assembly(policies: tuple[str, ...], network: Any = None, space: BoxSpace = FLAT) -> StackAssembly:
    recipe = PolicyRecipe(
        observation_space=space,
        action_space=DiscreteSpace(num_values=2),
        settings=ModuleSettings(),
        network=network,
        seed=0,
    )
    return StackAssembly(
        PlannedStack(
            name="s", policies=policies, group=0, recipe=recipe, training=PPOSettings(), overrides={}
        ),
        seed=0,
    )


@pytest.mark.parametrize("policies", [ONE, TWO])
@pytest.mark.parametrize(("network", "space"), [(None, PICTURE), (Plain, FLAT)], ids=["pictures", "own"])
def test_pictures_and_own_networks_act_as_a_stack_without_torch(
    policies: Any, network: Any, space: BoxSpace, caplog: pytest.LogCaptureFixture
) -> None:
    made = assembly(policies, network, space)
    assert made.is_stacked
    assert isinstance(made.acting("s", []), StackPolicy)
    assert isinstance(made.acting_plan("s").policy, PolicyGraph)
    assert not caplog.records


def test_policies_without_a_graph_act_together_through_torch_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = assembly(TWO, Unknown)
    assert made.is_stacked
    assert isinstance(made.acting("s", []), TorchStackPolicy)
    assert "2 policies act through torch, which is slower: Unknown has no policy graph" in caplog.text


def test_the_only_policy_without_a_graph_is_no_stack() -> None:
    assert not assembly(ONE, Unknown).is_stacked


def test_policies_that_cannot_be_stacked_act_each_by_a_graph_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        made = assembly(TWO, Tied)
    assert not made.is_stacked
    plan = made.acting_plan("s").policy
    assert isinstance(plan, PolicyGraph)
    assert not plan.is_stacked
    assert "2 policies are computed one after the other: Tied uses a parameter in two places" in caplog.text
