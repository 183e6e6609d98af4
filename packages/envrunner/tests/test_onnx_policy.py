"""A policy graph acts through ONNX Runtime with whatever weights it was given last."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from outrider.envrunner import OnnxPolicy
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.wire import BoxSpace, DiscreteSpace, PolicyGraph, TensorSpec, Weights, action_heads

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


def test_batches_of_ever_other_sizes_are_right_and_reserve_no_more_memory(graph: PolicyGraph) -> None:
    policy, weights = OnnxPolicy(graph), mlp_weights(graph)
    policy.set_weights(weights)
    for num_rows in [*range(1, 40), 1, 20, 39]:
        observations = np.random.default_rng(num_rows).normal(size=(num_rows, 4)).astype(np.float32)
        parameters, _ = policy.act({"": observations}, {})
        np.testing.assert_allclose(parameters, by_hand(weights, observations), atol=1e-5)
    assert len(policy._bound) <= 16


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


def counting_graph() -> PolicyGraph:
    """A graph whose parameters are the observation's first number times a weight, and whose state counts."""
    tensor = functools.partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    nodes = [
        helper.make_node("MatMul", ["observation", "weights/w"], ["product"]),
        helper.make_node("Add", ["product", "state/count"], ["action_parameters"]),
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Add", ["state/count", "one"], ["next_state/count"]),
    ]
    inputs = [
        tensor("observation", shape=["B", 4]),
        tensor("state/count", shape=["B", 1]),
        tensor("weights/w", shape=[4, 3]),
    ]
    outputs = [tensor("action_parameters", shape=["B", 3]), tensor("next_state/count", shape=["B", 1])]
    model = helper.make_model(
        helper.make_graph(nodes, "counting", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return PolicyGraph(
        model=model.SerializeToString(),
        fingerprint="counting",
        observation_space=OBSERVATIONS,
        action_space=DiscreteSpace(num_values=3),
        action_heads=action_heads(DiscreteSpace(num_values=3)),
        state={"count": TensorSpec(shape=(1,), dtype=np.dtype(np.float32))},
    )


def test_recurrent_state_goes_in_and_comes_out() -> None:
    policy = OnnxPolicy(counting_graph())
    tensors = {"w": np.ones((4, 3), np.float32)}
    policy.set_weights(Weights(version=0, fingerprint="counting", tensors=tensors))
    state = {"count": np.array([[0.0], [5.0]], np.float32)}
    parameters, next_state = policy.act({"": np.ones((2, 4), np.float32)}, state)
    np.testing.assert_array_equal(parameters, [[4] * 3, [9] * 3])
    np.testing.assert_array_equal(next_state["count"], [[1], [6]])
    assert dict(policy.state_spec) == {"count": TensorSpec(shape=(1,), dtype=np.dtype(np.float32))}
