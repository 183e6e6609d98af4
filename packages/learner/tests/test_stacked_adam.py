"""Each policy takes the steps of an Adam of its own."""

import pytest
import torch

from outrider.learner.stacks import stacked_adam
from outrider.learner.stacks.stacked_adam import StackedAdam
from outrider.learner.stacks.stacked_policies import Block
from outrider.rlmodule import WeightGradient

WIDTH = 7


def make(num_policies: int, rates: list[float], clips: list[float]) -> tuple[Block, StackedAdam]:
    weight = torch.arange(float(num_policies * WIDTH)).reshape(num_policies, WIDTH) / 10
    block = Block(
        weights={"w": weight},
        first_moments={"w": torch.zeros_like(weight)},
        second_moments={"w": torch.zeros_like(weight)},
        others={},
    )
    adam = StackedAdam(
        block,
        torch.zeros(num_policies),
        learning_rate_B=torch.tensor(rates),
        grad_clip_B=torch.tensor(clips),
        epsilon=1e-5,
    )
    return block, adam


@pytest.mark.parametrize("tile", [1, 2, 64])
def test_rates_clips_and_counts_are_each_policys_own(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    monkeypatch.setattr(stacked_adam, "TILE", tile)
    rates, clips = [1e-2, 1e-3, 0.0], [0.5, float("inf"), 100.0]
    block, adam = make(3, rates, clips)
    own = [torch.nn.Parameter(row.clone()) for row in block.weights["w"]]
    plain = [torch.optim.Adam([p], lr=r, eps=1e-5) for p, r in zip(own, rates, strict=True)]
    for step in range(4):
        gradient = torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(step))
        may_step = torch.tensor([True, step % 2 == 0, True])
        norms = adam.take({"w": gradient.clone()}, may_step)
        torch.testing.assert_close(norms, gradient.norm(dim=1))
        for place, (p, optimizer) in enumerate(zip(own, plain, strict=True)):
            if may_step[place]:
                p.grad = gradient[place].clone()
                torch.nn.utils.clip_grad_norm_([p], clips[place])
                optimizer.step()
    torch.testing.assert_close(
        block.weights["w"], torch.stack([p.detach() for p in own]), rtol=1e-5, atol=1e-6
    )


def test_a_gradient_that_is_not_finite_moves_nothing_of_its_policy() -> None:
    block, adam = make(3, [0.1] * 3, [0.5] * 3)
    before = block.weights["w"].clone()
    gradient = torch.ones(3, WIDTH)
    gradient[1, 4] = torch.inf
    adam.take({"w": gradient}, torch.ones(3, dtype=torch.bool))
    assert (block.weights["w"] != before).all(1).tolist() == [True, False, True]
    assert torch.equal(block.weights["w"][1], before[1])
    assert block.first_moments["w"][1].tolist() == block.second_moments["w"][1].tolist() == [0.0] * WIDTH


def test_only_the_first_policies_step_where_the_others_rest() -> None:
    block, adam = make(3, [0.1] * 3, [0.5] * 3)
    before = block.weights["w"].clone()
    adam.take({"w": torch.ones(2, WIDTH)}, torch.ones(2, dtype=torch.bool))
    assert torch.equal(block.weights["w"][2], before[2])


def test_two_tensors_may_have_one_gradient() -> None:
    weights = {name: torch.zeros(2, WIDTH) for name in ("a", "b")}
    moments = [{name: torch.zeros_like(tensor) for name, tensor in weights.items()} for _ in range(2)]
    block = Block(weights=weights, first_moments=moments[0], second_moments=moments[1], others={})
    numbers = {"learning_rate_B": torch.tensor([0.1, 0.2]), "grad_clip_B": torch.tensor([0.5, 0.5])}
    adam = StackedAdam(block, torch.zeros(2), **numbers, epsilon=1e-5)
    gradient = torch.arange(1.0, 2.0 * WIDTH + 1.0).reshape(2, WIDTH)
    adam.take({"a": gradient, "b": gradient}, torch.ones(2, dtype=torch.bool))
    torch.testing.assert_close(block.first_moments["a"], block.first_moments["b"])
    torch.testing.assert_close(block.second_moments["a"], block.second_moments["b"])


@pytest.mark.parametrize("tile", [1, 2, 64])
def test_a_gradient_may_come_as_a_product_whole_or_in_part(
    monkeypatch: pytest.MonkeyPatch, tile: int
) -> None:
    monkeypatch.setattr(stacked_adam, "TILE", tile)
    generator = torch.Generator().manual_seed(0)
    factor, rows = torch.randn(3, 4, 1, generator=generator), torch.randn(3, 4, WIDTH, generator=generator)
    product = WeightGradient(factor, rows)
    whole = (factor * rows).sum(1)
    blocks = []
    for gradients, products in (
        ({"w": whole + 1.0}, {}),
        ({"w": torch.ones(3, WIDTH)}, {"w": product}),
        ({"w": None}, {"w": WeightGradient(torch.cat((factor, factor[:, :1] * 0 + 1), 1), _and_ones(rows))}),
    ):
        block, adam = make(3, [0.1, 0.2, 0.3], [0.5] * 3)
        norms = adam.take(gradients, torch.ones(3, dtype=torch.bool), products)
        torch.testing.assert_close(norms, (whole + 1.0).norm(dim=1))
        blocks.append(block)
    for block in blocks[1:]:
        torch.testing.assert_close(block.weights, blocks[0].weights)


def _and_ones(rows: torch.Tensor) -> torch.Tensor:
    return torch.cat((rows, torch.ones_like(rows[:, :1])), 1)


def test_what_is_within_its_clip_is_not_touched() -> None:
    block, adam = make(2, [0.1] * 2, [1e6] * 2)
    adam.take({"w": torch.ones(2, WIDTH)}, torch.ones(2, dtype=torch.bool))
    torch.testing.assert_close(block.first_moments["w"], torch.full((2, WIDTH), 0.1))
