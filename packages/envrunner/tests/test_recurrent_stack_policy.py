"""Policies that remember act in one call as each does alone. Axes: A = agents, N = rows of a call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from outrider.envrunner.policies.stack_policy import StackPolicy
from outrider.testing.stacked_mlp_graph import stacked_mlp_weights
from outrider.wire import BoxSpace, DiscreteSpace, PolicyGraph, TensorSpec, action_heads

BOX = BoxSpace(low=np.full(3, -1, np.float32), high=np.full(3, 1, np.float32))
HEADS = action_heads(DiscreteSpace(num_values=2))
SIZE = 4


def recurrent_graph() -> PolicyGraph:
    """Make memory' = tanh(observation @ in + memory @ again), and parameters memory' @ out."""
    shapes = {"in": (3, SIZE), "again": (SIZE, SIZE), "out": (SIZE, 2)}
    inputs = {f"weights/{name}": ("P", *shape) for name, shape in shapes.items()}
    inputs |= {"observation": ("P", "B", 3), "state/memory": ("P", "B", SIZE)}
    outputs = {"action_parameters": ("P", "B", 2), "next_state/memory": ("P", "B", SIZE)}
    nodes = [
        helper.make_node("MatMul", ["observation", "weights/in"], ["seen"]),
        helper.make_node("MatMul", ["state/memory", "weights/again"], ["remembered"]),
        helper.make_node("Add", ["seen", "remembered"], ["both"]),
        helper.make_node("Tanh", ["both"], ["next_state/memory"]),
        helper.make_node("MatMul", ["next_state/memory", "weights/out"], ["action_parameters"]),
    ]
    ends = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in columns.items()]
        for columns in (inputs, outputs)
    )
    model: onnx.ModelProto = helper.make_model(
        helper.make_graph(nodes, "remembering", *ends),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return PolicyGraph(
        model=model.SerializeToString(),
        fingerprint="remembering",
        observation_space=BOX,
        action_space=DiscreteSpace(num_values=2),
        action_heads=HEADS,
        state={"memory": TensorSpec(shape=(SIZE,), dtype=np.dtype(np.float32))},
        is_stacked=True,
    )


GRAPH = recurrent_graph()
NUMBERS = (2, 3, 5, 8, 700)


def alone(
    number: int, seen: NDArray[np.float32], memory: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Step one policy by hand; return its parameters and what it remembers."""
    tensors = stacked_mlp_weights(GRAPH, "s", [number]).tensors
    after = np.tanh(seen @ tensors["s/in"][0] + memory @ tensors["s/again"][0])
    return after @ tensors["s/out"][0], after


@pytest.mark.parametrize(
    "policy_of",
    [
        (2, 3, 5, 8, 700),
        (2, 2, 2, 3, 3, 3),
        (700,),
        (2, *[5] * 40, 8, 8),
    ],
    ids=["one each", "neighbours", "alone", "one has most"],
)
@pytest.mark.parametrize("share", [1.0, 0.6])
def test_each_agent_remembers_what_it_saw_whoever_else_acts(policy_of: Sequence[int], share: float) -> None:
    """Some of the agents act in each step, and some begin anew; compare with one policy after the other."""
    acting = StackPolicy(GRAPH, "s")
    acting.set_weights(stacked_mlp_weights(GRAPH, "s", NUMBERS))
    rng, policy_A = np.random.default_rng(0), np.array(policy_of, np.int32)
    memory_A, expected_A = (np.zeros((len(policy_A), SIZE), np.float32) for _ in range(2))
    num_acts, everybody = 0, np.arange(len(policy_A))
    for _ in range(12):
        begins_A = rng.random(len(policy_A)) < 0.2
        memory_A[begins_A] = expected_A[begins_A] = 0
        agents = everybody[rng.random(len(policy_A)) < share]
        if not len(agents):
            continue
        seen = rng.normal(size=(len(agents), 3)).astype(np.float32)
        parameters, after = acting.act({"": seen}, policy_A[agents], {"memory": memory_A[agents]})
        for row, agent in enumerate(agents.tolist()):
            expected, expected_A[agent] = alone(int(policy_A[agent]), seen[row], expected_A[agent])
            np.testing.assert_allclose(parameters[row], expected, atol=1e-5)
        memory_A[agents] = after["memory"]
        np.testing.assert_allclose(memory_A, expected_A, atol=1e-5)
        num_acts += len(agents)
    assert num_acts > 5


def test_what_a_stack_remembers_is_said() -> None:
    assert StackPolicy(GRAPH, "s").state_spec == GRAPH.state
