"""Whole runs, trained and compared: what comes to the same numbers wherever its parts are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.algorithm import Algorithm

DEADLINE_S = 120.0


def weights(algorithm: Algorithm) -> dict[str, NDArray[Any]]:
    """Return the weights of the only policy."""
    return dict(algorithm.policy.weights(0).tensors)


def weights_by_policy(algorithm: Algorithm) -> dict[str, NDArray[Any]]:
    """Return the weights of several policies."""
    return {
        f"{name}/{key}": tensor.numpy().copy()
        for name, policy in algorithm.policies.items()
        for key, tensor in policy.state_dict().items()
    }


def weights_after(config: Any, num_iterations: int) -> dict[str, NDArray[Any]]:
    with config.build() as algorithm:
        for _ in range(num_iterations):
            algorithm.train()
        return weights(algorithm)


def train_until(algorithm: Algorithm, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        result = algorithm.train()
        if reached(result):
            return result
    raise AssertionError(f"not reached within {DEADLINE_S} s: {result}")


def change_policies(algorithm: Algorithm) -> dict[str, NDArray[Any]]:
    """Train three policies while some come, go, stand still and change sides; return their weights."""
    algorithm.train()
    algorithm.add_policy("copy", like="1")  # a stack of its own
    algorithm.freeze("copy")
    algorithm.set_matchups(
        [(1.0, {"0": "0", "1": "copy", "2": "2"}), (2.0, {"0": "0", "1": "1", "2": "copy"})]
    )
    for _ in range(2):
        algorithm.train()
    algorithm.add_policy("new", like="0")
    algorithm.set_matchups([(1.0, {"0": "new", "1": "copy", "2": "2"})])
    algorithm.remove_policy("1")
    for _ in range(2):
        algorithm.train()
    return weights_by_policy(algorithm)


def assert_same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        np.testing.assert_array_equal(tensor, other[name], name)


def assert_close(ours: Any, theirs: Any, path: str = "") -> None:
    """Compare weights, or a learner's state."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), path
        for name in theirs.keys() - {"version", "num_updates"}:  # a rank counts what it had rows for
            assert_close(ours[name], theirs[name], f"{path}/{name}")
    elif isinstance(theirs, np.ndarray) and theirs.dtype.kind == "f":
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5, err_msg=path)
    else:
        np.testing.assert_array_equal(ours, theirs, err_msg=path)
