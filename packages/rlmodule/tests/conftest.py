"""Spaces, random observations and a graph's execution, for the tests of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from outrider.rlmodule import Policy
from outrider.wire import (
    BoxSpace,
    DiscreteSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    PolicyGraph,
    Space,
    Weights,
    leaves,
)

Columns = dict[str, NDArray[Any]]


@pytest.fixture
def sample() -> Callable[..., Columns]:
    """Draw observations {path: [num_rows, ...]} of a space."""
    return _sample


@pytest.fixture
def run_graph() -> Callable[..., dict[str, NDArray[Any]]]:
    """Execute a policy graph as a runner does."""
    return _run_graph


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _sample(space: Space, num_rows: int, seed: int = 0) -> Columns:
    rng = np.random.default_rng(seed)
    return {path: _rows(leaf, num_rows, rng) for path, leaf in leaves(space).items()}


def _rows(leaf: Space, n: int, rng: np.random.Generator) -> NDArray[Any]:
    match leaf:
        case BoxSpace() if leaf.low.dtype.kind == "f":
            return rng.normal(3.0, 2.0, (n, *leaf.low.shape)).astype(leaf.low.dtype)
        case BoxSpace():
            return rng.integers(leaf.low, leaf.high, (n, *leaf.low.shape), endpoint=True).astype(
                leaf.low.dtype
            )
        case DiscreteSpace():
            return rng.integers(leaf.num_values, size=n) + leaf.start
        case MultiDiscreteSpace():
            return rng.integers(leaf.num_values, size=(n, *leaf.num_values.shape)) + leaf.start
        case MultiBinarySpace():
            return rng.integers(2, size=(n, *leaf.shape)).astype(np.int8)
        case _:
            raise AssertionError(leaf)


def _run_graph(
    graph: PolicyGraph, weights: Weights, observations: Columns, state: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    session = onnxruntime.InferenceSession(graph.model, providers=["CPUExecutionProvider"])
    offered = (
        {f"observation{path}": rows for path, rows in observations.items()}
        | {f"state/{name}": rows for name, rows in state.items()}
        | {f"weights/{name}": tensor for name, tensor in weights.tensors.items()}
    )
    names = [output.name for output in session.get_outputs()]
    outputs = session.run(names, {wanted.name: offered[wanted.name] for wanted in session.get_inputs()})
    return dict(zip(names, outputs, strict=True))


@pytest.fixture
def tensors() -> Callable[[Mapping[str, NDArray[Any]]], dict[str, torch.Tensor]]:
    """Make torch tensors of columns."""
    return lambda columns: {name: torch.from_numpy(np.array(rows)) for name, rows in columns.items()}


@pytest.fixture
def shake() -> Callable[[Policy], Policy]:
    """Give a policy weights and statistics that are far from their initial ones."""

    def shaken(policy: Policy) -> Policy:
        generator = torch.Generator().manual_seed(7)
        for parameter in policy.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data += 0.3 * noise / max(1, parameter[0].numel()) ** 0.5
        if policy.observation_normalizer is not None:
            for seed in (1, 2):
                rows = _sample(policy.observation_space, 20, seed)
                observations = {path: torch.from_numpy(column) for path, column in rows.items()}
                normalizer = policy.observation_normalizer
                normalizer.merge(normalizer.measure(observations))
        return policy

    return shaken
