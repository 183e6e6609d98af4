"""Steps are those of torch.optim.Adam after clip_grad_norm_."""

from collections.abc import Callable

import pytest
import torch

from outrider.learner.ranks import OneRank
from outrider.learner.training.gradient_step import GradientStep, buckets


@pytest.mark.parametrize("grad_clip", [None, 0.5])
def test_steps_equal_those_of_torch(grad_clip: float | None) -> None:
    layers = [torch.nn.Linear(4, 3) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    ours = GradientStep(layers[0], OneRank(), grad_clip=grad_clip, adam_epsilon=1e-5)
    ours.set_learning_rate(0.01)
    theirs = torch.optim.Adam(layers[1].parameters(), lr=0.01, eps=1e-5)
    for seed in range(5):
        rows = torch.randn(8, 4, generator=torch.Generator().manual_seed(seed))
        for layer in layers:
            layer(rows).square().sum().backward()
        ours.take(torch.zeros(1))
        if grad_clip is not None:
            torch.nn.utils.clip_grad_norm_(layers[1].parameters(), grad_clip)
        theirs.step()
        theirs.zero_grad()
    torch.testing.assert_close(layers[0].weight, layers[1].weight, rtol=1e-5, atol=1e-6)


def test_a_skipped_step_does_not_count() -> None:
    layer = torch.nn.Linear(1, 1)
    step = GradientStep(layer, OneRank(), grad_clip=0.5, adam_epsilon=1e-5)
    for statistic in (0.0, torch.nan, 0.0):
        layer.weight.grad, layer.bias.grad = torch.ones(1, 1), torch.ones(1)
        step.take(torch.tensor([statistic]))
    assert step.get_state()["count"] == 2
    assert layer.weight.grad is None


def test_gradients_go_in_runs_of_at_most_so_many_bytes() -> None:
    parts = [torch.zeros(count) for count in (2, 1, 5, 1, 1, 1)]
    sizes = [[len(part) for part in bucket] for bucket in buckets(parts, 12)]
    assert sizes == [[2, 1], [5], [1, 1, 1]]


class Twins:
    """Two ranks that have the same gradients; answers come only when they are waited for."""

    rank, size = 0, 2

    def __init__(self) -> None:
        self.num_messages = 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor + tensor

    def start_sum(self, tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
        self.num_messages += 1
        return lambda: self.sum(tensor)


def test_many_messages_give_the_bits_that_one_gives() -> None:
    weights, num_messages = [], []
    for bucket_bytes in (1, 40, 1 << 20):
        torch.manual_seed(0)
        module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
        twins = Twins()
        step = GradientStep(module, twins, grad_clip=0.1, adam_epsilon=1e-5, bucket_bytes=bucket_bytes)
        step.set_learning_rate(0.01)
        for _ in range(3):
            module(torch.ones(5, 4)).square().sum().backward()
            statistics = step.take(torch.tensor([1.0, 2.0]))
            assert statistics[:2].tolist() == [2.0, 4.0]
        weights.append(torch.cat([p.detach().flatten() for p in module.parameters()]))
        num_messages.append(twins.num_messages // 3)
    assert num_messages == [5, 4, 1]
    assert torch.equal(weights[0], weights[2])
    assert torch.equal(weights[1], weights[2])
