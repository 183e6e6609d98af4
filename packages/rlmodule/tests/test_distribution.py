"""Log-probabilities, entropies and divergences against sums and integrals worked out by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from outrider.rlmodule import Distribution
from outrider.wire import (
    ActionHead,
    BoxSpace,
    DictSpace,
    DiscreteSpace,
    MultiBinarySpace,
    MultiDiscreteSpace,
    Space,
    action_heads,
)

GRID = torch.linspace(-30.0, 30.0, 200_001, dtype=torch.float64)


def box(*shape: int) -> BoxSpace:
    return BoxSpace(low=np.full(shape, -1, np.float32), high=np.full(shape, 1, np.float32))


def multi_discrete(*num_values: int) -> MultiDiscreteSpace:
    return MultiDiscreteSpace(num_values=np.array(num_values), start=np.zeros(len(num_values), np.int64))


FINITE: dict[str, tuple[Space, list[Any]]] = {
    "discrete": (DiscreteSpace(num_values=3), [0, 1, 2]),
    "multi discrete": (multi_discrete(3, 2), [list(c) for c in itertools.product(range(3), range(2))]),
    "alike": (multi_discrete(2, 2, 2), [list(c) for c in itertools.product(range(2), repeat=3)]),
    "multi binary": (MultiBinarySpace(shape=(3,)), [list(c) for c in itertools.product(range(2), repeat=3)]),
}


def parameters(heads: tuple[ActionHead, ...], *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(heads[-1].stop, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("name", FINITE)
def test_probabilities_of_all_actions_sum_to_one(name: str) -> None:
    space, actions = FINITE[name]
    heads = action_heads(space)
    rows = parameters(heads).expand(len(actions), -1)
    log_prob = Distribution(heads).log_prob(rows, {"": torch.tensor(actions)})
    assert log_prob.shape == (len(actions),)
    torch.testing.assert_close(log_prob.exp().sum().item(), 1.0)


@pytest.mark.parametrize("name", FINITE)
def test_entropy_and_divergence_are_the_sums_that_define_them(name: str) -> None:
    space, actions = FINITE[name]
    heads = action_heads(space)
    distribution = Distribution(heads)
    old, new = parameters(heads, seed=1), parameters(heads, seed=2)
    columns = {"": torch.tensor(actions)}
    log_old = distribution.log_prob(old.expand(len(actions), -1), columns)
    log_new = distribution.log_prob(new.expand(len(actions), -1), columns)
    torch.testing.assert_close(distribution.entropy(old), -(log_old.exp() * log_old).sum())
    torch.testing.assert_close(distribution.kl(old, new), (log_old.exp() * (log_old - log_new)).sum())


def test_categorical_gives_the_softmax_of_its_logits() -> None:
    logits = torch.tensor([[math.log(1.0), math.log(3.0)]])
    distribution = Distribution(action_heads(DiscreteSpace(num_values=2)))
    assert distribution.log_prob(logits, {"": torch.tensor([1])}).exp().item() == pytest.approx(0.75)


def test_multi_discrete_components_read_their_own_logits() -> None:
    logits = torch.log(torch.tensor([[1.0, 3.0, 2.0, 2.0, 4.0]]))
    distribution = Distribution(action_heads(multi_discrete(2, 3)))
    probability = distribution.log_prob(logits, {"": torch.tensor([[1, 2]])}).exp()
    assert probability.item() == pytest.approx(0.75 * 0.5)


def test_bernoulli_gives_the_sigmoid_of_its_logits() -> None:
    logits = torch.tensor([[math.log(3.0), math.log(1 / 3)]])
    distribution = Distribution(action_heads(MultiBinarySpace(shape=(2,))))
    actions = torch.tensor([[1, 1]], dtype=torch.int8)
    assert distribution.log_prob(logits, {"": actions}).exp().item() == pytest.approx(0.75 * 0.25)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_gaussian_integrates_to_one_with_its_mean_entropy_and_divergence(shape: tuple[int, ...]) -> None:
    heads = action_heads(box(*shape))
    distribution = Distribution(heads)
    old, new = torch.tensor([0.7, -0.3]).double(), torch.tensor([-0.2, 0.4]).double()
    columns = {"": GRID.reshape(-1, *shape)}
    log_old = distribution.log_prob(old.expand(len(GRID), -1), columns)
    log_new = distribution.log_prob(new.expand(len(GRID), -1), columns)
    step = (GRID[1] - GRID[0]).item()

    def mean(values: Tensor) -> float:
        return (log_old.exp() * values).sum().item() * step

    assert mean(torch.ones_like(GRID)) == pytest.approx(1.0)
    assert mean(GRID) == pytest.approx(0.7)
    assert mean((GRID - 0.7).square()) == pytest.approx(math.exp(-0.6))
    assert distribution.entropy(old).item() == pytest.approx(mean(-log_old))
    assert distribution.kl(old, new).item() == pytest.approx(mean(log_old - log_new))


def test_gaussian_components_read_their_own_columns() -> None:
    heads = action_heads(box(2))
    rows = torch.tensor([[1.0, 2.0, math.log(0.5), math.log(2.0)]])
    log_prob = Distribution(heads).log_prob(rows, {"": torch.tensor([[1.5, 0.0]])})
    expected = -0.5 - math.log(0.5) - 0.5 - math.log(2.0) - math.log(2 * math.pi)
    assert log_prob.item() == pytest.approx(expected)


def test_squashed_gaussian_is_a_density_of_the_squashed_action() -> None:
    heads = action_heads(box(1), box="squashed_gaussian")
    squashed = torch.linspace(-1 + 1e-6, 1 - 1e-6, 400_001, dtype=torch.float64)
    rows = torch.tensor([0.3, -0.5], dtype=torch.float64).expand(len(squashed), -1)
    log_prob = Distribution(heads).log_prob(rows, {"": squashed.atanh()[:, None]})
    total = torch.trapezoid(log_prob.exp(), squashed).item()
    assert total == pytest.approx(1.0, abs=1e-4)


def test_squashed_gaussian_stays_finite_where_tanh_is_flat() -> None:
    heads = action_heads(box(1), box="squashed_gaussian")
    actions = torch.tensor([[-60.0], [60.0]], requires_grad=True)
    log_prob = Distribution(heads).log_prob(torch.zeros(2, 2), {"": actions})
    log_prob.sum().backward()
    assert actions.grad is not None
    assert torch.isfinite(log_prob).all()
    assert torch.isfinite(actions.grad).all()


def test_heads_are_independent_of_each_other() -> None:
    space = DictSpace(spaces={"arm": box(2), "mode": DiscreteSpace(num_values=3)})
    heads = action_heads(space)
    joint, arm, mode = (
        Distribution(heads),
        Distribution(heads[:1]),
        Distribution(action_heads(DiscreteSpace(num_values=3))),
    )
    old, new = parameters(heads, seed=1)[None], parameters(heads, seed=2)[None]
    actions = {"/arm": torch.tensor([[0.1, -0.4]]).double(), "/mode": torch.tensor([2])}
    log_prob, entropy = joint.log_prob_and_entropy(old, actions)
    expected = arm.log_prob(old[:, :4], actions) + mode.log_prob(old[:, 4:], {"": actions["/mode"]})
    torch.testing.assert_close(log_prob, expected)
    torch.testing.assert_close(entropy, arm.entropy(old[:, :4]) + mode.entropy(old[:, 4:]))
    torch.testing.assert_close(entropy, joint.entropy(old))
    torch.testing.assert_close(
        joint.kl(old, new), arm.kl(old[:, :4], new[:, :4]) + mode.kl(old[:, 4:], new[:, 4:])
    )


@pytest.mark.parametrize("kind", ["gaussian", "squashed_gaussian"])
@pytest.mark.parametrize(
    "space",
    [
        DiscreteSpace(num_values=3),
        box(2),
        box(2, 2),
        multi_discrete(2, 3),
        multi_discrete(2, 2),
        MultiBinarySpace(shape=(2, 2)),
        DictSpace(spaces={"a": box(), "b": DiscreteSpace(num_values=2)}),
    ],
)
def test_any_leading_axes_will_do(space: Space, kind: Any) -> None:
    heads = action_heads(space, box=kind)
    distribution = Distribution(heads)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 4, heads[-1].stop, generator=generator)
    actions = {
        head.path: torch.randint(2, (3, 4, *head.shape), generator=generator).to(
            torch.float32 if "gauss" in head.kind else torch.int64
        )
        for head in heads
    }
    flat = {path: column.flatten(0, 1) for path, column in actions.items()}
    for deep, shallow in zip(
        (*distribution.log_prob_and_entropy(rows, actions), distribution.kl(rows, rows)),
        (*distribution.log_prob_and_entropy(rows.flatten(0, 1), flat), torch.zeros(12)),
        strict=True,
    ):
        assert deep.shape == (3, 4)
        torch.testing.assert_close(deep.flatten(), shallow, atol=1e-6, rtol=1e-6)


def test_forbidden_logits_leave_entropy_divergence_and_gradients_finite() -> None:
    distribution = Distribution(action_heads(DiscreteSpace(num_values=3)))
    logits = torch.tensor([[0.0, -1e9, 0.0]], requires_grad=True)
    log_prob, entropy = distribution.log_prob_and_entropy(logits, {"": torch.tensor([0])})
    (log_prob + entropy + distribution.kl(logits.detach(), logits)).sum().backward()
    assert entropy.item() == pytest.approx(math.log(2.0))
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
