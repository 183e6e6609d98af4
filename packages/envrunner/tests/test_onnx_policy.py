"""A policy graph acts through ONNX Runtime with whatever weights it was given last."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from outrider.envrunner import OnnxPolicy
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.wire import BoxSpace, DiscreteSpace, PolicyGraph, Weights

OBSERVATIONS = BoxSpace(low=np.full(4, -1, np.float32), high=np.full(4, 1, np.float32))


@pytest.fixture(scope="module")
def graph() -> PolicyGraph:
    return mlp_graph(OBSERVATIONS, DiscreteSpace(num_values=3), num_hidden=8)


def by_hand(weights: Weights, observations: Any) -> Any:
    hidden = observations
    for layer in range(3):
        hidden = hidden @ weights.tensors[f"{layer}.weight"].T + weights.tensors[f"{layer}.bias"]
        hidden = np.tanh(hidden) if layer < 2 else hidden
    return hidden


@pytest.mark.parametrize("num_rows", [1, 2, 33])
def test_parameters_are_those_of_the_network(graph: PolicyGraph, num_rows: int) -> None:
    policy, weights = OnnxPolicy(graph), mlp_weights(graph)
    observations = np.random.default_rng(0).normal(size=(num_rows, 4)).astype(np.float32)
    policy.set_weights(weights)
    parameters, state = policy.act({"": observations}, {})
    np.testing.assert_allclose(parameters, by_hand(weights, observations), atol=1e-6)
    assert state == {}


def test_new_weights_act_in_the_next_call(graph: PolicyGraph) -> None:
    policy, observations = OnnxPolicy(graph), np.ones((2, 4), np.float32)
    for seed in (0, 1):
        weights = mlp_weights(graph, seed=seed)
        policy.set_weights(weights)
        parameters, _ = policy.act({"": observations}, {})
        np.testing.assert_allclose(parameters, by_hand(weights, observations), atol=1e-6)


def test_the_caller_may_change_the_weights_afterwards(graph: PolicyGraph) -> None:
    policy, weights = OnnxPolicy(graph), mlp_weights(graph)
    policy.set_weights(weights)
    before = policy.act({"": np.ones((1, 4), np.float32)}, {})[0].copy()
    weights.tensors["0.weight"][:] = 0
    np.testing.assert_array_equal(policy.act({"": np.ones((1, 4), np.float32)}, {})[0], before)


def test_weights_of_another_module_are_refused(graph: PolicyGraph) -> None:
    weights = replace(mlp_weights(graph), fingerprint="other")
    with pytest.raises(ValueError, match="weights version 0 fit module other, but this policy is mlp"):
        OnnxPolicy(graph).set_weights(weights)


def test_a_missing_or_misshapen_weight_leaves_the_old_ones(graph: PolicyGraph) -> None:
    policy, weights = OnnxPolicy(graph), mlp_weights(graph)
    policy.set_weights(weights)
    wrong = replace(
        mlp_weights(graph, seed=1), tensors={**mlp_weights(graph, seed=1).tensors, "2.bias": np.zeros(9)}
    )
    with pytest.raises(ValueError, match=r"'2.bias' is of shape \(9,\), the policy graph takes \(3,\)"):
        policy.set_weights(wrong)
    observations = np.ones((1, 4), np.float32)
    np.testing.assert_allclose(
        policy.act({"": observations}, {})[0], by_hand(weights, observations), atol=1e-6
    )


def test_a_model_that_is_none_is_refused(graph: PolicyGraph) -> None:
    with pytest.raises(ValueError, match="cannot load the policy graph"):
        OnnxPolicy(replace(graph, model=b"nonsense"))
