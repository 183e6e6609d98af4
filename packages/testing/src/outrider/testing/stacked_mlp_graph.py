"""A small stacked policy graph written node by node, so that tests of acting need no torch.

Axes: P = policies, B = rows of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper

from outrider.wire import (
    Fragment,
    PolicyGraph,
    Space,
    Weights,
    WeightsStack,
    action_heads,
    leaf_shape,
    leaves,
)


def stacked_mlp_graph(observation_space: Space, action_space: Space, *, num_hidden: int = 64) -> PolicyGraph:
    """Make two tanh layers for each policy, from a space with one flat Box leaf to action parameters."""
    ((path, leaf),) = leaves(observation_space).items()
    (num_inputs,) = leaf_shape(leaf)
    heads = action_heads(action_space)
    sizes = (num_inputs, num_hidden, num_hidden, heads[-1].stop)
    source = f"observation{path}"
    inputs = [_tensor(source, "P", "B", num_inputs)]
    nodes = []
    for layer, (before, after) in enumerate(pairwise(sizes)):
        weight, bias = f"weights/{layer}.weight", f"weights/{layer}.bias"
        inputs += [_tensor(weight, "P", before, after), _tensor(bias, "P", 1, after)]
        result = "action_parameters" if layer == len(sizes) - 2 else f"linear{layer}"
        nodes.append(helper.make_node("MatMul", [source, weight], [f"product{layer}"]))
        nodes.append(helper.make_node("Add", [f"product{layer}", bias], [result]))
        source = f"tanh{layer}"
        if result != "action_parameters":
            nodes.append(helper.make_node("Tanh", [result], [source]))
    outputs = [_tensor("action_parameters", "P", "B", sizes[-1])]
    model = helper.make_model(
        helper.make_graph(nodes, "stacked mlp", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return PolicyGraph(
        model=model.SerializeToString(),
        fingerprint=f"stacked mlp{sizes}",
        observation_space=observation_space,
        action_space=action_space,
        action_heads=heads,
        is_stacked=True,
    )


def stacked_mlp_weights(
    graph: PolicyGraph, name: str, policies: Sequence[int], *, version: int = 0
) -> Weights:
    """Draw weights for a `stacked_mlp_graph`, for each policy by its number and the version alone."""
    inputs = [
        node for node in onnx.load_from_string(graph.model).graph.input if node.name.startswith("weights/")
    ]
    shapes = {
        node.name.removeprefix("weights/"): [size.dim_value for size in node.type.tensor_type.shape.dim[1:]]
        for node in inputs
    }
    drawn: dict[str, list[np.ndarray]] = {key: [] for key in shapes}
    for number in policies:
        rng = np.random.default_rng((number, version))
        for key, shape in shapes.items():
            drawn[key].append(rng.normal(0, 0.3, shape).astype(np.float32))
    numbers = np.array(policies, np.int32)
    stack = WeightsStack(
        name=name,
        fingerprint=graph.fingerprint,
        policies=numbers,
        versions=np.full(len(numbers), version, np.int64),
    )
    tensors = {f"{name}/{key}": np.stack(each) for key, each in drawn.items()}
    return Weights(version=version, fingerprint=graph.fingerprint, tensors=tensors, stacks=(stack,))


def stacked_mlp_log_probs(graph: PolicyGraph, part: Fragment) -> np.ndarray:
    """Return what the actions of a part's rows should have for log-probabilities: of discrete actions.

    The weights are those that `stacked_mlp_weights` draws for each row's policy and version.
    """
    policy_N = np.repeat(part.streams.policy, part.streams.lengths)
    version_N = np.broadcast_to(part.policy_version, part.num_rows)
    found = np.zeros(part.num_rows, np.float32)
    for number, version in set(zip(policy_N.tolist(), version_N.tolist(), strict=True)):
        rows = (policy_N == number) & (version_N == version)
        tensors = stacked_mlp_weights(graph, "mlp", [number], version=version).tensors
        hidden = next(iter(part.observations.values()))[rows]
        for layer in range(3):
            hidden = hidden @ tensors[f"mlp/{layer}.weight"][0] + tensors[f"mlp/{layer}.bias"][0]
            hidden = np.tanh(hidden) if layer < 2 else hidden
        log_probs = hidden - np.log(np.exp(hidden).sum(1, keepdims=True))
        actions = next(iter(part.actions.values()))[rows]
        found[rows] = log_probs[np.arange(len(actions)), actions]
    return found


def _tensor(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
