"""Messages to test with: small ones worked out by hand, random ones from a seed, and their equality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    EpisodeStatistics,
    Fragment,
    GraphSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    OneOfSpace,
    PolicyGraph,
    SamplingStatistics,
    SequenceSpace,
    Space,
    Streams,
    TensorSpec,
    TextSpace,
    TupleSpace,
    Weights,
    action_heads,
)


def example_fragment() -> Fragment:
    """Return the fragment that the module `outrider.wire.fragment` draws."""
    camera = np.arange(7 * 4, dtype=np.uint8).reshape(7, 2, 2)
    speed = np.arange(7, dtype=np.float32) / 2
    return Fragment(
        streams=Streams(
            lengths=np.array([4, 3]),
            policy=np.zeros(2, np.int32),
            environment=np.array([0, 1], np.int32),
            agent=np.zeros(2, np.int32),
            state={"h": np.array([[0.0, 0.5], [1.0, 1.5]], np.float32)},
        ),
        observations={"/camera": camera, "/speed": speed},
        actions={"": np.array([0, 1, 2, 0, 1, 2, 0])},
        rewards=np.array([1, 2, 3, 4, 5, 6, 7], np.float32),
        terminated=np.array([0, 1, 0, 0, 0, 0, 0], np.bool_),
        truncated=np.array([0, 0, 0, 0, 0, 1, 0], np.bool_),
        next_rows=np.array([3, 5, 6]),
        next_observations={"/camera": camera[[3, 5, 6]] + np.uint8(100), "/speed": speed[[3, 5, 6]] + 10},
        action_log_probs=np.full(7, -1.0986123, np.float32),
        action_parameters=np.arange(21, dtype=np.float32).reshape(7, 3),
        policy_version=np.array([12]),
        episodes=EpisodeStatistics(returns=np.array([3.0, 11.0], np.float32), lengths=np.array([2, 2])),
        statistics=SamplingStatistics(environment_s=0.5, policy_s=0.25, total_s=1.0, num_restarts=1),
    )


def example_weights() -> Weights:
    """Return weights with a matrix, a vector, a number and a float64 statistic."""
    tensors: dict[str, NDArray[Any]] = {
        "pi/weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
        "pi/bias": np.array([-1.0, 1.0], np.float32),
        "log_std": np.array(0.5, np.float32),
        "observation_normalizer/mean": np.array([1e-300, 1.0 / 3.0]),
    }
    return Weights(version=3, fingerprint="f00d", tensors=tensors)


def example_spaces() -> dict[str, Space]:
    """Return a space of every kind by name, nested ones among them."""
    box = BoxSpace(low=np.array([-1.0, -np.inf], np.float32), high=np.array([1.0, np.inf], np.float32))
    image = BoxSpace(low=np.zeros((2, 2), np.uint8), high=np.full((2, 2), 255, np.uint8))
    discrete = DiscreteSpace(num_values=3, start=-1)
    return {
        "box": box,
        "image": image,
        "discrete": discrete,
        "multi_discrete": MultiDiscreteSpace(num_values=np.array([2, 3]), start=np.array([0, -5])),
        "multi_binary": MultiBinarySpace(shape=(2, 3)),
        "text": TextSpace(min_length=0, max_length=4, characters="abü"),
        "dict": DictSpace(spaces={"camera": image, "a/b": TupleSpace(spaces=(discrete, box))}),
        "tuple": TupleSpace(spaces=(discrete, DictSpace(spaces={}))),
        "sequence": SequenceSpace(element=box, stacked=True),
        "graph": GraphSpace(node=box, edge=discrete),
        "graph_without_edges": GraphSpace(node=discrete, edge=None),
        "one_of": OneOfSpace(spaces=(discrete, image)),
    }


def example_policy_graph() -> PolicyGraph:
    """Return a policy graph whose model is no ONNX but three bytes."""
    spaces = example_spaces()
    action_space = TupleSpace(spaces=(spaces["discrete"], spaces["box"]))
    return PolicyGraph(
        model=b"\x08\x07\x00",
        fingerprint="f00d",
        observation_space=spaces["dict"],
        action_space=action_space,
        action_heads=action_heads(action_space),
        state={"h": TensorSpec(shape=(2,), dtype=np.dtype(np.float32))},
    )


def image_fragment(num_rows: int = 40) -> Fragment:
    """Return a fragment of one stream whose observations are images of 1 KiB each: the row's number."""
    images = np.broadcast_to(np.arange(num_rows, dtype=np.uint8)[:, None, None], (num_rows, 32, 32)).copy()
    zeros = np.zeros(num_rows, np.float32)
    none = np.zeros(1, np.int32)
    return Fragment(
        streams=Streams(lengths=np.array([num_rows]), policy=none, environment=none, agent=none),
        observations={"": images},
        actions={"": np.arange(num_rows) % 4},
        rewards=zeros,
        terminated=np.zeros(num_rows, np.bool_),
        truncated=np.zeros(num_rows, np.bool_),
        next_rows=np.array([num_rows - 1]),
        next_observations={"": images[:1]},
        action_log_probs=zeros,
        policy_version=np.zeros(1, np.int64),
        episodes=EpisodeStatistics(returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64)),
    )


def random_fragment(seed: int, *, num_streams: int = 3, max_length: int = 6) -> Fragment:
    """Return a fragment that keeps every rule; what may be absent or ragged is so for some seeds."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, max_length + 1, num_streams)
    num_rows = int(lengths.sum())
    terminated, truncated = rng.random(num_rows) < 0.2, rng.random(num_rows) < 0.2
    cut = truncated.copy()
    cut[np.cumsum(lengths) - 1] = True
    next_rows = np.flatnonzero(cut & ~terminated)
    num_parameters = int(rng.integers(0, 4))
    num_episodes = int(rng.integers(0, 3))
    shapes = {"": (4,)} if rng.random() < 0.5 else {"/camera": (2, 3, 1), "/speed": (), "/nothing": (0,)}
    return Fragment(
        streams=Streams(
            lengths=lengths,
            policy=np.sort(rng.integers(0, 2, num_streams)).astype(np.int32),
            environment=rng.integers(0, 9, num_streams).astype(np.int32),
            agent=rng.integers(0, 2, num_streams).astype(np.int32),
            state={"h": rng.random((num_streams, 2), np.float32)} if rng.random() < 0.5 else {},
        ),
        observations={path: rng.random((num_rows, *shape), np.float32) for path, shape in shapes.items()},
        actions={"": rng.integers(0, 3, num_rows)},
        rewards=rng.random(num_rows, np.float32),
        terminated=terminated,
        truncated=truncated,
        next_rows=next_rows,
        next_observations={
            path: rng.random((len(next_rows), *shape), np.float32) for path, shape in shapes.items()
        },
        action_log_probs=-rng.random(num_rows, np.float32),
        action_parameters=rng.random((num_rows, num_parameters), np.float32) if num_parameters else None,
        policy_version=rng.integers(0, 9, num_rows if rng.random() < 0.5 else 1),
        episodes=EpisodeStatistics(
            returns=rng.random(num_episodes, np.float32), lengths=rng.integers(1, 9, num_episodes)
        ),
        statistics=SamplingStatistics(environment_s=float(rng.random()), num_lost_rows=int(rng.integers(9))),
    )


def same_message(a: Any, b: Any) -> bool:  # noqa: ANN401  (any message, or part of one)
    """Return whether two messages, or parts of them, hold equal values of equal dtype and shape."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if is_dataclass(a) and type(a) is type(b):
        return all(same_message(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return list(a) == list(b) and all(same_message(a[name], b[name]) for name in a)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same_message, a, b))
    return bool(type(a) is type(b) and a == b)
