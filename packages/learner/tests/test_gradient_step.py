"""Steps are those of torch.optim.Adam after clip_grad_norm_."""

import pytest
import torch

from outrider.learner.gradient_step import GradientStep
from outrider.learner.ranks import OneRank


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
