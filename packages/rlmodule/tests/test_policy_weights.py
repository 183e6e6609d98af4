"""Weights round-trip, and fingerprints tell which weights fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from outrider.rlmodule import ModuleSettings, Policy, build_policy, export_graph
from outrider.wire import BoxSpace, DiscreteSpace, Space, TupleSpace

BOX = BoxSpace(low=np.full(3, -1, np.float32), high=np.full(3, 1, np.float32))
TWO = DiscreteSpace(num_values=2)


def make(observation: Space = BOX, action: Space = TWO, *, seed: int = 0, **chosen: Any) -> Policy:
    return build_policy(observation, action, ModuleSettings(**chosen), seed=seed)


def test_weights_carry_one_policy_to_another() -> None:
    here, there = make(seed=0), make(seed=1)
    rows = {"": torch.rand(4, 3)}
    assert not torch.equal(here(rows)[1], there(rows)[1])
    there.load_weights(here.weights(5))
    torch.testing.assert_close(here(rows), there(rows), rtol=0, atol=0)


def test_weights_are_a_copy() -> None:
    policy = make()
    weights = policy.weights(5)
    before = weights.tensors["network.value_head.bias"].copy()
    policy.network.value_head.bias.data += 1
    assert (weights.version, weights.fingerprint) == (5, policy.fingerprint())
    np.testing.assert_array_equal(weights.tensors["network.value_head.bias"], before)


@pytest.mark.parametrize("use_lstm", [True, False])
def test_each_tensor_is_named_once(use_lstm: bool) -> None:
    policy = make(use_lstm=use_lstm)
    assert set(policy.weights(0).tensors) == {f"network.{name}" for name in policy.network.state_dict()}


def test_read_only_weights_load() -> None:
    policy = make()
    weights = policy.weights(0)
    for tensor in weights.tensors.values():
        tensor.flags.writeable = False
    policy.load_weights(weights)


def test_equal_seeds_give_equal_weights_and_leave_the_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first, second = make(seed=4).weights(0), make(seed=4).weights(0)
    torch.testing.assert_close(torch.rand(1), expected)
    for name, tensor in first.tensors.items():
        np.testing.assert_array_equal(tensor, second.tensors[name])


def test_a_fingerprint_does_not_depend_on_the_weights() -> None:
    policy = make(seed=0, normalize_observations=True)
    assert policy.fingerprint() == make(seed=1, normalize_observations=True).fingerprint()
    assert export_graph(policy).fingerprint == policy.fingerprint()


def test_fingerprints_differ_where_anything_differs_that_acts() -> None:
    wide = BoxSpace(low=BOX.low * 2, high=BOX.high)
    policies = [
        make(),
        make(wide),
        make(TupleSpace(spaces=(BOX,))),
        make(DiscreteSpace(num_values=3)),
        make(DiscreteSpace(num_values=3, start=1)),
        make(action=DiscreteSpace(num_values=2, start=1)),
        make(action=DiscreteSpace(num_values=3)),
        make(action=BOX),
        make(action=BOX, box_distribution="squashed_gaussian"),
        make(action=BOX, free_log_std=False),
        make(fcnet_hiddens=(64,)),
        make(fcnet_activation="relu"),
        make(vf_share_layers=True),
        make(use_lstm=True),
        make(normalize_observations=True),
        make(normalize_observations=True, observation_clip=5.0),
        make(normalize_rewards=True),
    ]
    assert len({policy.fingerprint() for policy in policies}) == len(policies)


def test_weights_of_another_architecture_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"do not fit this policy.*build it with the spaces and module settings"
    ):
        make().load_weights(make(fcnet_activation="relu").weights(0))
