"""Policies that are made together begin as alone, and no network is made for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from outrider.rlmodule import ModuleSettings, PolicyRecipe, PolicyStack, first_weights
from outrider.rlmodule.feed_forward_network import FeedForwardNetwork
from outrider.wire import BoxSpace, DictSpace, DiscreteSpace, MultiBinarySpace, MultiDiscreteSpace, Space

SEEDS = [3, 0, 2**32 - 1, 3]


def box(*shape: int, high: int = 1, dtype: Any = np.float32) -> BoxSpace:
    return BoxSpace(low=np.zeros(shape, dtype), high=np.full(shape, high, dtype))


FLAT, SMALL_IMAGE, IMAGE = (
    box(4),
    box(6, 7, 2, high=255, dtype=np.uint8),
    box(36, 36, 1, high=255, dtype=np.uint8),
)
TWO = DiscreteSpace(num_values=2)
SEVERAL = DictSpace(
    spaces={"x": box(3), "see": SMALL_IMAGE, "mode": TWO, "action_mask": MultiBinarySpace(shape=(2,))}
)
KINDS: dict[str, tuple[Space, Space, dict[str, Any]]] = {
    "two layers": (FLAT, TWO, {}),
    "rows that do not fill a line of memory": (box(5), TWO, {"fcnet_hiddens": (17, 33, 7)}),
    "wide and tall": (box(70), TWO, {"fcnet_hiddens": (16, 128)}),
    "no hidden layer": (FLAT, TWO, {"fcnet_hiddens": ()}),
    "shared": (FLAT, TWO, {"vf_share_layers": True, "fcnet_activation": "relu"}),
    "free log std": (FLAT, box(3), {"initial_log_std": -1.0}),
    "made log std": (FLAT, box(3), {"initial_log_std": -1.0, "free_log_std": False}),
    "squashed": (FLAT, box(2), {"box_distribution": "squashed_gaussian"}),
    "normalised": (FLAT, TWO, {"normalize_observations": True, "normalize_rewards": True}),
    "one-hot": (
        DiscreteSpace(num_values=5),
        MultiDiscreteSpace(num_values=np.array([2, 3]), start=np.zeros(2, int)),
        {},
    ),
    "several leaves": (SEVERAL, TWO, {"normalize_observations": True}),
    "nature": (IMAGE, TWO, {"encoder": "nature_cnn"}),
    "impala": (SMALL_IMAGE, TWO, {"encoder": "impala_resnet"}),
    "flat image": (SMALL_IMAGE, TWO, {"encoder": "mlp"}),
}


def recipe(kind: str, seed: int = 0, **others: Any) -> PolicyRecipe:
    observation, action, chosen = KINDS[kind]
    return PolicyRecipe(
        observation_space=observation,
        action_space=action,
        settings=ModuleSettings(**chosen),
        seed=seed,
        **others,
    )


def check_begins_as_alone(kind: str, **others: Any) -> None:
    stack = PolicyStack(recipe(kind, **others), SEEDS)
    for place, seed in enumerate(SEEDS):
        alone = dict(recipe(kind, seed, **others).build().state_dict())
        torch.testing.assert_close(stack.policy_tensors(place), alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_begins_in_a_stack_as_alone(kind: str) -> None:
    check_begins_as_alone(kind)


def test_a_policy_with_a_central_critic_begins_in_a_stack_as_alone() -> None:
    check_begins_as_alone("two layers", critic_space=box(3))


class Own(nn.Module):
    """A network of the user's own, that begins as it likes."""

    def __init__(self, observation_space: Any, action_space: Any, num_action_parameters: int) -> None:
        super().__init__()
        self.policy, self.value = nn.Linear(4, num_action_parameters), nn.Linear(4, 1)

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        return self.policy(observation), self.value(observation).squeeze(-1)


def test_a_policy_with_a_network_of_the_users_begins_in_a_stack_as_alone() -> None:
    check_begins_as_alone("two layers", network=Own)


def test_policies_of_a_stack_are_drawn_without_a_network_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[nn.Module] = []
    make = FeedForwardNetwork.__init__

    def counted(network: FeedForwardNetwork, *given: Any) -> None:
        made.append(network)
        make(network, *given)

    monkeypatch.setattr(FeedForwardNetwork, "__init__", counted)
    PolicyStack(recipe("two layers"), range(300)).grow(range(300))
    assert len(made) == 1


def test_policies_drawn_in_several_parts_are_those_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = PolicyStack(recipe("two layers"), range(5)).tensors
    monkeypatch.setattr(first_weights, "NUMBERS_AT_A_TIME", 2 * sum(t[0].numel() for t in at_once.values()))
    torch.testing.assert_close(
        PolicyStack(recipe("two layers"), range(5)).tensors, at_once, rtol=0, atol=1e-6
    )


def test_seeds_tell_policies_and_matrices_apart() -> None:
    tensors = PolicyStack(recipe("two layers"), [1, 2]).tensors
    encoders = [tensors[f"network.{whose}_encoder.2.weight"] for whose in ("policy", "value")]
    assert not torch.equal(encoders[0][0], encoders[0][1])
    assert not torch.equal(encoders[0][0], encoders[1][0])


@pytest.mark.parametrize("shape", [(3, 8, 5), (3, 5, 8), (3, 4, 4)])
def test_matrices_are_those_of_torch(shape: tuple[int, ...]) -> None:
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for given, made in zip(numbers, first_weights.orthogonal(numbers), strict=True):
        small = made if shape[1] <= shape[2] else made.T
        torch.testing.assert_close(small @ small.T, torch.eye(min(shape[1:])), atol=1e-6, rtol=0)
        torch.testing.assert_close(made, as_torch_makes_it(given), rtol=0, atol=1e-6)


def as_torch_makes_it(numbers: Tensor) -> Tensor:
    """Let torch make an orthogonal matrix of these numbers, in the place of those that it draws."""

    class Given(torch.Tensor):
        def normal_(self, *_: Any, **__: Any) -> Tensor:
            return numbers.clone()

    return nn.init.orthogonal_(torch.empty(numbers.shape).as_subclass(Given)).as_subclass(Tensor)
