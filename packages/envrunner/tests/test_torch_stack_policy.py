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


REMEMBERING = replace(RECIPE, settings=ModuleSettings(fcnet_hiddens=(4,), use_lstm=True, lstm_cell_size=3))


@pytest.mark.parametrize("recipe", [RECIPE, REMEMBERING], ids=["feed-forward", "recurrent"])
def test_each_acts_as_it_would_alone(recipe: PolicyRecipe) -> None:
    modules = {number: replace(recipe, seed=number).build() for number in (2, 5, 9)}
    states = [module.state_dict() for module in modules.values()]
    acting = TorchStackPolicy(recipe, "s")
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
    rng = np.random.default_rng(1)
    state = {
        name: rng.normal(size=(4, *spec.shape)).astype(np.float32) for name, spec in acting.state_spec.items()
    }
    parameters, next_state = acting.act({"": observations}, policy, state)
    assert next_state.keys() == state.keys() == modules[2].state_spec.keys()
    for row, number in enumerate(policy.tolist()):
        own = {name: column[row : row + 1] for name, column in state.items()}
        expected, after = TorchPolicy(modules[number]).act({"": observations[row : row + 1]}, own)
        np.testing.assert_allclose(parameters[row], expected[0], atol=1e-6)
        for name, column in after.items():
            np.testing.assert_allclose(next_state[name][row], column[0], atol=1e-6)
