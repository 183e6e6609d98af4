"""A small policy graph written node by node, so that these tests need no torch."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from outrider.wire import PolicyGraph, Space, Weights, action_heads, leaf_shape, leaves


def mlp_graph(observation_space: Space, action_space: Space, *, hidden: int = 64, box: str = "gaussian") -> PolicyGraph:
    """Two tanh layers from one Box leaf to the action parameters."""
    heads = action_heads(action_space, box=box)
    num_parameters = heads[-1].stop
    ((path, leaf),) = leaves(observation_space).items()
    (num_inputs,) = leaf_shape(leaf)
    sizes = (num_inputs, hidden, hidden, num_parameters)
    inputs = [helper.make_tensor_value_info(f"observation{path}", TensorProto.FLOAT, ["B", num_inputs])]
    nodes, last = [], f"observation{path}"
    for layer in range(3):
        inputs += [
            helper.make_tensor_value_info(f"weights/{layer}.weight", TensorProto.FLOAT, sizes[layer : layer + 2][::-1]),
            helper.make_tensor_value_info(f"weights/{layer}.bias", TensorProto.FLOAT, [sizes[layer + 1]]),
        ]
        out = "action_parameters" if layer == 2 else f"linear{layer}"
        nodes.append(helper.make_node("Gemm", [last, f"weights/{layer}.weight", f"weights/{layer}.bias"], [out], transB=1))
        if layer < 2:
            nodes.append(helper.make_node("Tanh", [out], [f"tanh{layer}"]))
            last = f"tanh{layer}"
    outputs = [helper.make_tensor_value_info("action_parameters", TensorProto.FLOAT, ["B", num_parameters])]
    model = helper.make_model(
        helper.make_graph(nodes, "mlp", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.checker.check_model(model)
    return PolicyGraph(
        model=model.SerializeToString(),
        fingerprint="mlp",
        observation_space=observation_space,
        action_space=action_space,
        action_heads=heads,
    )


def mlp_weights(graph: PolicyGraph, *, version: int = 0, seed: int = 0) -> Weights:
    """Random weights for `mlp_graph`."""
    rng = np.random.default_rng(seed)
    shapes = {
        node.name.removeprefix("weights/"): tuple(size.dim_value for size in node.type.tensor_type.shape.dim)
        for node in onnx.load_from_string(graph.model).graph.input
        if node.name.startswith("weights/")
    }
    tensors = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return Weights(version=version, fingerprint=graph.fingerprint, tensors=tensors)
