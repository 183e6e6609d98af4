"""A torch module acts through the same door as a policy graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from outrider.envrunner import TorchPolicy
from outrider.wire import TensorSpec, Weights

torch = pytest.importorskip("torch")


class Counting:
    """Puts out its weight times the observation, and counts steps where it is recurrent."""

    def __init__(self, is_recurrent: bool) -> None:
        self.is_recurrent = is_recurrent
        self.state_spec = (
            {"count": TensorSpec(shape=(1,), dtype=np.dtype(np.float32))} if is_recurrent else {}
        )
        self._weight = torch.zeros((), requires_grad=True)

    def fingerprint(self) -> str:
        return "counting"

    def load_weights(self, weights: Weights) -> None:
        self._weight = torch.from_numpy(weights.tensors["weight"]).requires_grad_()

    def forward(self, observations: Any) -> Any:
        return self._weight * observations[""], observations[""].sum(1)

    def step(self, observations: Any, state: Any) -> Any:
        return *self.forward(observations), {"count": state["count"] + 1}


def weights(fingerprint: str = "counting") -> Weights:
    return Weights(version=0, fingerprint=fingerprint, tensors={"weight": np.array(3.0, np.float32)})


def test_a_module_acts_with_the_weights_it_was_given() -> None:
    policy = TorchPolicy(Counting(is_recurrent=False))
    policy.set_weights(weights())
    parameters, state = policy.act({"": np.ones((2, 4), np.float32)}, {})
    np.testing.assert_array_equal(parameters, np.full((2, 4), 3.0))
    assert state == {}


def test_a_recurrent_module_returns_its_next_state() -> None:
    policy = TorchPolicy(Counting(is_recurrent=True))
    policy.set_weights(weights())
    _, state = policy.act({"": np.ones((2, 4), np.float32)}, {"count": np.ones((2, 1), np.float32)})
    np.testing.assert_array_equal(state["count"], [[2.0], [2.0]])


def test_weights_of_another_module_are_refused() -> None:
    with pytest.raises(ValueError, match="fit module other, but this policy is counting"):
        TorchPolicy(Counting(is_recurrent=False)).set_weights(weights("other"))
