"""The policy graph computes what torch computes, on every space and network."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from outrider.rlmodule import ModuleSettings, build_policy, export_graph, export_standalone
from outrider.wire import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    Space,
    TupleSpace,
)


def box(*shape: int, low: float = -np.inf, high: float = np.inf, dtype: Any = np.float32) -> BoxSpace:
    return BoxSpace(low=np.full(shape, low, dtype), high=np.full(shape, high, dtype))


def multi_discrete(*num_values: int, start: int = 0) -> MultiDiscreteSpace:
    return MultiDiscreteSpace(num_values=np.array(num_values), start=np.full(len(num_values), start))


def image(*shape: int) -> BoxSpace:
    return box(*shape, low=0, high=255, dtype=np.uint8)


OBSERVATIONS: dict[str, Space] = {
    "box": box(4),
    "scalar box": box(),
    "matrix of float64": box(2, 3, dtype=np.float64),
    "float16": box(3, dtype=np.float16),
    "bytes": box(6, low=0, high=255, dtype=np.uint8),
    "int32": box(2, 2, low=-5, high=5, dtype=np.int32),
    "discrete": DiscreteSpace(num_values=5, start=-2),
    "multi discrete": multi_discrete(3, 2, 4, start=1),
    "multi binary": MultiBinarySpace(shape=(2, 3)),
    "image, channels last": image(36, 40, 3),
    "image, channels first": image(4, 36, 36),
    "small image": image(7, 9, 3),
    "dict": DictSpace(spaces={"b": box(2), "a/~": DiscreteSpace(num_values=3), "pixels": image(8, 8, 1)}),
    "tuple": TupleSpace(spaces=(multi_discrete(2, 2), DictSpace(spaces={"x": box(), "y": box(1, 2)}))),
    "one leaf in a dict": DictSpace(spaces={"only": box(3)}),
    "masked": DictSpace(spaces={"position": box(3), "action_mask": MultiBinarySpace(shape=(4,))}),
}
ACTIONS: dict[str, Space] = {
    "discrete": DiscreteSpace(num_values=4, start=3),
    "box": box(3, low=-2.0, high=5.0),
    "unbounded box": box(2),
    "half-bounded matrix": BoxSpace(
        low=np.array([[0.0, -np.inf]]), high=np.array([[np.inf, 1.0]], dtype=np.float64)
    ),
    "multi discrete": multi_discrete(3, 2, 4, start=-1),
    "multi binary": MultiBinarySpace(shape=(2, 2)),
    "dict": DictSpace(
        spaces={"arm": box(2, low=-1, high=1), "mode": DiscreteSpace(num_values=3), "leg": box(1)}
    ),
    "tuple": TupleSpace(
        spaces=(multi_discrete(2, 2), TupleSpace(spaces=(box(), MultiBinarySpace(shape=(2,)))))
    ),
}
NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "shared": {"vf_share_layers": True, "fcnet_activation": "relu"},
    "normalised": {"normalize_observations": True},
    "lstm": {"use_lstm": True, "lstm_cell_size": 8},
    "shared lstm": {"use_lstm": True, "lstm_cell_size": 8, "vf_share_layers": True},
    "no hidden layer": {"fcnet_hiddens": ()},
    "made log std": {"free_log_std": False, "initial_log_std": -0.5},
}
IMAGE_NETWORKS: dict[str, dict[str, Any]] = {
    "nature": {"encoder": "nature_cnn"},
    "impala": {"encoder": "impala_resnet"},
    "flat": {"encoder": "mlp"},
    "impala with lstm": {"encoder": "impala_resnet", "use_lstm": True},
    "nature with lstm": {"encoder": "nature_cnn", "use_lstm": True, "vf_share_layers": True},
}
CASES = [
    *((observation, "discrete", network) for observation in OBSERVATIONS for network in ("mlp", "lstm")),
    *(("box", action, network) for action in ACTIONS for network in ("mlp", "made log std", "lstm")),
    *(("box", "box", network) for network in NETWORKS),
    *(("dict", "dict", network) for network in NETWORKS),
]
NORMALIZABLE = ("box", "scalar box", "matrix of float64", "float16", "dict", "tuple", "masked")


def check(policy: Any, fixtures: Any, tolerance: float = 2e-5) -> None:
    """Compare three steps at three numbers of rows, among them the one that the trace saw."""
    sample, run_graph, tensors, shake = fixtures
    shake(policy)
    graph, weights = export_graph(policy), policy.weights(0)
    for num_rows in (1, 2, 5):
        state = {k: np.zeros((num_rows, *spec.shape), spec.dtype) for k, spec in policy.state_spec.items()}
        for seed in range(3 if state else 1):
            observations = sample(policy.observation_space, num_rows, seed)
            outputs = run_graph(graph, weights, observations, state)
            with torch.no_grad():
                parameters, _, next_state = policy.step(tensors(observations), tensors(state))
            assert outputs["action_parameters"].shape == (num_rows, policy.action_heads[-1].stop)
            np.testing.assert_allclose(
                outputs["action_parameters"], parameters, atol=tolerance, rtol=tolerance
            )
            state = {name: outputs[f"next_state/{name}"] for name in state}
            for name, rows in state.items():
                np.testing.assert_allclose(rows, next_state[name], atol=tolerance, rtol=tolerance)


@pytest.fixture
def fixtures(sample: Any, run_graph: Any, tensors: Any, shake: Any) -> Any:
    return sample, run_graph, tensors, shake


@pytest.mark.filterwarnings("ignore:.*the action space has no Box")
@pytest.mark.parametrize(("observation", "action", "network"), CASES)
def test_graph_equals_torch(observation: str, action: str, network: str, fixtures: Any) -> None:
    settings = ModuleSettings(**NETWORKS[network])
    check(build_policy(OBSERVATIONS[observation], ACTIONS[action], settings, seed=1), fixtures)


@pytest.mark.parametrize("network", IMAGE_NETWORKS)
@pytest.mark.parametrize("observation", ["image, channels last", "image, channels first"])
def test_graph_equals_torch_on_images(observation: str, network: str, fixtures: Any) -> None:
    settings = ModuleSettings(**IMAGE_NETWORKS[network])
    policy = build_policy(OBSERVATIONS[observation], ACTIONS["discrete"], settings, seed=1)
    check(policy, fixtures, 1e-4)  # 15 convolutions one after the other


@pytest.mark.parametrize("observation", NORMALIZABLE)
def test_graph_normalises_as_torch_does(observation: str, fixtures: Any) -> None:
    settings = ModuleSettings(normalize_observations=True, observation_clip=1.5)
    check(build_policy(OBSERVATIONS[observation], ACTIONS["discrete"], settings, seed=1), fixtures)


@pytest.mark.parametrize("action", ["discrete", "multi discrete"])
def test_graph_masks_as_torch_does(action: str, fixtures: Any) -> None:
    num_values = {"discrete": 4, "multi discrete": 9}[action]
    space = DictSpace(spaces={"x": box(2), "action_mask": MultiBinarySpace(shape=(num_values,))})
    check(build_policy(space, ACTIONS[action], ModuleSettings(), seed=1), fixtures)


def test_graph_holds_no_weights_and_not_the_value() -> None:
    settings = ModuleSettings(normalize_observations=True)
    policy = build_policy(box(4), box(2), settings, seed=1)
    session = onnxruntime.InferenceSession(export_graph(policy).model)
    assert [node.name for node in session.get_inputs()] == [
        "observation",
        "weights/network.policy_encoder.0.weight",
        "weights/network.policy_encoder.0.bias",
        "weights/network.policy_encoder.2.weight",
        "weights/network.policy_encoder.2.bias",
        "weights/network.policy_head.log_std",
        "weights/network.policy_head.linear.weight",
        "weights/network.policy_head.linear.bias",
        "weights/observation_normalizer.leaves.0.shift",
        "weights/observation_normalizer.leaves.0.scale",
    ]


def test_graph_follows_new_weights(sample: Any, run_graph: Any) -> None:
    policy = build_policy(box(4), box(2), ModuleSettings(), seed=1)
    other = build_policy(box(4), box(2), ModuleSettings(), seed=2)
    observations = sample(policy.observation_space, 3)
    first = run_graph(export_graph(policy), other.weights(1), observations, {})
    second = run_graph(export_graph(other), other.weights(1), observations, {})
    np.testing.assert_array_equal(first["action_parameters"], second["action_parameters"])


@pytest.mark.parametrize("distribution", ["gaussian", "squashed_gaussian"])
def test_standalone_policy_acts_in_the_units_of_the_environment(distribution: Any) -> None:
    space = BoxSpace(low=np.array([-2.0, 0.0]), high=np.array([2.0, 10.0]))
    policy = build_policy(box(4), space, ModuleSettings(box_distribution=distribution), seed=1)
    torch.nn.init.zeros_(policy.network.policy_head.linear.weight)
    policy.network.policy_head.linear.bias.data = torch.tensor([0.5, -3.0])
    session = onnxruntime.InferenceSession(export_standalone(policy))
    action = session.run(["action"], {"observation": np.ones((3, 4), np.float32)})[0]
    expected = [1.0, 0.0] if distribution == "gaussian" else 5 * np.tanh([0.5, -3.0]) * [0.4, 1] + [0, 5]
    assert action.dtype == np.float64
    np.testing.assert_allclose(action, [expected] * 3, rtol=1e-5)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("network", ["mlp", "lstm"])
def test_standalone_policy_gives_every_leaf_of_the_action(action: str, network: str, fixtures: Any) -> None:
    sample, *_, shake = fixtures
    policy = shake(build_policy(box(4), ACTIONS[action], ModuleSettings(**NETWORKS[network]), seed=1))
    session = onnxruntime.InferenceSession(export_standalone(policy))
    feed = {"observation": sample(box(4), 5)[""]} | {
        f"state/{name}": np.zeros((5, *spec.shape), spec.dtype) for name, spec in policy.state_spec.items()
    }
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, feed), strict=True))
    assert {node.name for node in session.get_inputs()} == set(feed)
    expected = sample(ACTIONS[action], 5)
    for head in policy.action_heads:
        rows = outputs[f"action{head.path}"]
        assert (rows.shape, rows.dtype) == (expected[head.path].shape, expected[head.path].dtype)


def test_standalone_policy_chooses_the_largest_logit_of_each_component() -> None:
    policy = build_policy(box(2), multi_discrete(3, 2, start=10), ModuleSettings(), seed=1)
    torch.nn.init.zeros_(policy.network.policy_head.linear.weight)
    policy.network.policy_head.linear.bias.data = torch.tensor([0.0, 1.0, 2.0, 5.0, 4.0])
    session = onnxruntime.InferenceSession(export_standalone(policy))
    action = session.run(["action"], {"observation": np.zeros((1, 2), np.float32)})[0]
    assert action.tolist() == [[12, 10]]
