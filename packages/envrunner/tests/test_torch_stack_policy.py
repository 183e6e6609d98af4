"""Policies that cannot be exported act together through torch, each as it would alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("outrider.rlmodule")

from outrider.envrunner.policies.torch_policy import TorchPolicy
from outrider.envrunner.policies.torch_stack_policy import TorchStackPolicy
from outrider.rlmodule import ModuleSettings, PolicyRecipe
from outrider.wire import BoxSpace, DiscreteSpace, Weights, WeightsStack

RECIPE = PolicyRecipe(
    observation_space=BoxSpace(low=np.full(3, -1, np.float32), high=np.full(3, 1, np.float32)),
    action_space=DiscreteSpace(num_values=2),
    settings=ModuleSettings(fcnet_hiddens=(4,)),
    seed=0,
)


def test_each_acts_as_it_would_alone() -> None:
    modules = {number: replace(RECIPE, seed=number).build() for number in (2, 5, 9)}
    states = [module.state_dict() for module in modules.values()]
    acting = TorchStackPolicy(RECIPE, "s")
    stack = WeightsStack(
        name="s",
        fingerprint=modules[2].fingerprint(),
        policies=np.array([2, 5, 9], np.int32),
        versions=np.zeros(3, np.int64),
    )
    tensors = {f"s/{name}": np.stack([state[name].numpy() for state in states]) for name in states[0]}
    acting.set_weights(Weights(version=0, fingerprint="", tensors=tensors, stacks=(stack,)))
    policy = np.array([2, 2, 2, 9], np.int32)
    observations = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    parameters, state = acting.act({"": observations}, policy, {})
    assert not state
    for row, number in enumerate(policy.tolist()):
        expected, _ = TorchPolicy(modules[number]).act({"": observations[row : row + 1]}, {})
        np.testing.assert_allclose(parameters[row], expected[0], atol=1e-6)
