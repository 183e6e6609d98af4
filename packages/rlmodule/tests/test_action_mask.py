"""What a mask forbids has probability zero, and a mask that fits nothing is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from outrider.rlmodule import ModuleSettings, Policy, build_policy
from outrider.wire import (
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    Space,
)


def box(*shape: int, high: float = 1, dtype: Any = np.float32) -> BoxSpace:
    return BoxSpace(low=np.zeros(shape, dtype), high=np.full(shape, high, dtype))


def masked(mask: Space, action: Space, **chosen: Any) -> Policy:
    space = DictSpace(spaces={"action_mask": mask, "x": box(2)})
    return build_policy(space, action, ModuleSettings(**chosen), seed=0)


MULTI = MultiDiscreteSpace(num_values=np.array([2, 3]), start=np.array([0, 0]))


@pytest.mark.parametrize("mask", [MultiBinarySpace(shape=(3,)), box(3, dtype=np.int8), box(3)])
def test_a_forbidden_action_has_probability_zero(mask: Space) -> None:
    policy = masked(mask, DiscreteSpace(num_values=3))
    observations = {"/x": torch.rand(4, 2), "/action_mask": torch.tensor([[1, 0, 1]] * 4)}
    parameters, _ = policy(observations)
    probabilities = parameters.softmax(-1)
    assert (probabilities[:, 1] == 0).all()
    assert (probabilities[:, [0, 2]] > 0.1).all()


def test_each_component_of_a_multi_discrete_is_masked() -> None:
    policy = masked(MultiBinarySpace(shape=(5,)), MULTI)
    observations = {"/x": torch.rand(1, 2), "/action_mask": torch.tensor([[0, 1, 1, 0, 0]])}
    parameters, _ = policy(observations)
    log_prob = policy.distribution.log_prob(parameters, {"": torch.tensor([[1, 0]])})
    assert log_prob.item() == 0.0


def test_only_the_categorical_head_is_masked() -> None:
    action = DictSpace(spaces={"arm": box(1), "mode": DiscreteSpace(num_values=2), "leg": box(1)})
    policy = masked(MultiBinarySpace(shape=(2,)), action)
    x = torch.rand(1, 2)
    observations = {"/x": x, "/action_mask": torch.tensor([[1, 0]])}
    unmasked, _ = policy.network(policy.nested(observations)[0])
    assert (unmasked != policy(observations)[0]).tolist() == [[False, False, False, True, False, False]]


def test_the_mask_is_no_feature() -> None:
    policy = masked(MultiBinarySpace(shape=(3,)), DiscreteSpace(num_values=3), fcnet_hiddens=(8,))
    first = next(layer for layer in policy.network.policy_encoder if isinstance(layer, torch.nn.Linear))
    assert first.in_features == 2


def test_a_recurrent_policy_is_masked_step_by_step() -> None:
    policy = masked(MultiBinarySpace(shape=(3,)), DiscreteSpace(num_values=3), use_lstm=True)
    state = {name: torch.zeros(1, *spec.shape) for name, spec in policy.state_spec.items()}
    observations = {"/x": torch.rand(1, 2), "/action_mask": torch.tensor([[0, 1, 0]])}
    parameters, _, _ = policy.step(observations, state)
    assert parameters.softmax(-1).tolist() == [[0.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("mask", "action", "sentence"),
    [
        (
            MultiBinarySpace(shape=(2,)),
            DiscreteSpace(num_values=3),
            "has 2 entries, and the action space has 3",
        ),
        (box(3, high=9), DiscreteSpace(num_values=3), "BoxSpace with other values than 0 and 1; make it"),
        (DiscreteSpace(num_values=3), DiscreteSpace(num_values=3), "DiscreteSpace with other values"),
        (
            MultiBinarySpace(shape=(2,)),
            box(1),
            "has 0 Discrete or MultiDiscrete leaves; a mask needs exactly",
        ),
    ],
)
def test_a_mask_that_fits_nothing_is_refused(mask: Space, action: Space, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        masked(mask, action)
