"""A small policy graph written node by node, so that tests of acting need no torch."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper

from outrider.wire import (
    BoxDistribution,
    PolicyGraph,
    Space,
    Weights,
    action_heads,
    leaf_shape,
    leaves,
)


def mlp_graph(
    observation_space: Space,
    action_space: Space,
    *,
    num_hidden: int = 64,
    box_distribution: BoxDistribution = "gaussian",
) -> PolicyGraph:
    """Make two tanh layers from a space with one flat Box leaf to the action parameters."""
    ((path, leaf),) = leaves(observation_space).items()
    (num_inputs,) = leaf_shape(leaf)
    heads = action_heads(action_space, box=box_distribution)
    sizes = (num_inputs, num_hidden, num_hidden, heads[-1].stop)
    source = f"observation{path}"
    inputs = [_tensor(source, "B", num_inputs)]
    nodes = []
    for layer, (before, after) in enumerate(pairwise(sizes)):
        weight, bias = f"weights/{layer}.weight", f"weights/{layer}.bias"
        inputs += [_tensor(weight, after, before), _tensor(bias, after)]
        result = "action_parameters" if layer == len(sizes) - 2 else f"linear{layer}"
        nodes.append(helper.make_node("Gemm", [source, weight, bias], [result], transB=1))
        source = f"tanh{layer}"
        if result != "action_parameters":
            nodes.append(helper.make_node("Tanh", [result], [source]))
    graph = helper.make_graph(nodes, "mlp", inputs, [_tensor("action_parameters", "B", sizes[-1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return PolicyGraph(
        model=model.SerializeToString(),
        fingerprint=f"mlp{sizes}",
        observation_space=observation_space,
        action_space=action_space,
        action_heads=heads,
    )


def mlp_weights(graph: PolicyGraph, *, version: int = 0, seed: int = 0) -> Weights:
    """Draw weights for an `mlp_graph`."""
    rng = np.random.default_rng(seed)
    inputs = [
        node for node in onnx.load_from_string(graph.model).graph.input if node.name.startswith("weights/")
    ]
    tensors = {
        node.name.removeprefix("weights/"): rng.normal(
            0, 0.3, [size.dim_value for size in node.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for node in inputs
    }
    return Weights(version=version, fingerprint=graph.fingerprint, tensors=tensors)


def _tensor(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
