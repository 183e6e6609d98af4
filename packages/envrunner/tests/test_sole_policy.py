"""A policy that is a stack of its own acts as it would alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from outrider.envrunner.policies.batch_sizes import BatchSizes
from outrider.envrunner.policies.onnx_policy import OnnxPolicy
from outrider.envrunner.policies.sole_policy import SolePolicy
from outrider.testing.mlp_graph import mlp_graph, mlp_weights
from outrider.wire import BoxSpace, DiscreteSpace, Weights, WeightsStack

BOX = BoxSpace(low=np.full(3, -1, np.float32), high=np.full(3, 1, np.float32))
GRAPH = mlp_graph(BOX, DiscreteSpace(num_values=2), num_hidden=4)


def sole() -> SolePolicy:
    return SolePolicy(OnnxPolicy(GRAPH), "s", 5, observation_space=BOX, action_heads=GRAPH.action_heads)


def stacked(version: int, *, numbers: tuple[int, ...] = (5,), fingerprint: str = "") -> Weights:
    """Return weights as learners of several policies publish them; those of policy 5 have seed 5."""
    each = [mlp_weights(GRAPH, seed=number + version).tensors for number in numbers]
    stack = WeightsStack(
        name="s",
        fingerprint=fingerprint or GRAPH.fingerprint,
        policies=np.array(numbers, np.int32),
        versions=np.full(len(numbers), version, np.int64),
    )
    tensors = {f"s/{name}": np.stack([tensors[name] for tensors in each]) for name in each[0]}
    return Weights(version=version, fingerprint="all", tensors=tensors, stacks=(stack,))


def act(policy: SolePolicy, observations: NDArray[np.float32]) -> NDArray[np.float32]:
    numbers = np.full(len(observations), 5, np.int32)
    return policy.act({"": observations}, numbers, {})[0].copy()


def alone(observations: NDArray[np.float32], version: int) -> NDArray[np.float32]:
    policy = OnnxPolicy(GRAPH)
    policy.set_weights(mlp_weights(GRAPH, seed=5 + version))
    return policy.act({"": observations}, {})[0]


def test_it_acts_as_it_would_alone_however_many_rows_there_are() -> None:
    policy = sole()
    policy.set_weights(stacked(0))
    rng = np.random.default_rng(0)
    for num_rows in (3, 40, 41, 1, 37, 100, 39, 3):
        observations = rng.normal(size=(num_rows, 3)).astype(np.float32)
        np.testing.assert_allclose(act(policy, observations), alone(observations, 0), atol=1e-6)


def test_only_newer_weights_are_taken_until_they_are_forgotten() -> None:
    policy, observations = sole(), np.ones((2, 3), np.float32)
    policy.set_weights(stacked(2))
    policy.set_weights(stacked(1))
    np.testing.assert_allclose(act(policy, observations), alone(observations, 2), atol=1e-6)
    policy.forget()
    policy.set_weights(stacked(1))
    np.testing.assert_allclose(act(policy, observations), alone(observations, 1), atol=1e-6)


def test_weights_of_other_policies_are_left_alone() -> None:
    policy = sole()
    policy.set_weights(stacked(0, numbers=(4,)))
    with pytest.raises(ValueError, match="policy number 5 of stack 's' has no weights"):
        act(policy, np.ones((1, 3), np.float32))


def test_weights_of_another_module_are_refused() -> None:
    with pytest.raises(ValueError, match="fit module other"):
        sole().set_weights(stacked(0, fingerprint="other"))


def test_sizes_are_exact_while_they_are_few_and_then_an_eighth_too_large_at_most() -> None:
    sizes = BatchSizes()
    assert [sizes.at_least(number) for number in (33, 35, 33, 70, 71)] == [33, 35, 33, 70, 71]
    assert [sizes.at_least(number) for number in (33, 34, 65, 1000, 13)] == [33, 36, 72, 1024, 13]
    assert all(n <= sizes.at_least(n) <= max(16, n * 9 / 8) for n in range(1, 3000))
