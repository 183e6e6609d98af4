"""Losses are those of the papers, row by row, with their gradients."""

import pytest
import torch

from outrider.learner.training import ppo_loss


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.1, 2.0, -2.2, -2.0),  # inside of the clip
        (1.5, 2.0, -2.4, 0.0),  # further up is no better
        (0.5, -2.0, 1.6, 0.0),  # further down is no better
        (0.5, 2.0, -1.0, -2.0),  # the way back stays open
        (1.5, -2.0, 3.0, 2.0),
    ],
)
def test_the_ratio_has_no_gradient_beyond_the_clip_unless_it_comes_back(
    ratio: float, advantage: float, loss: float, slope: float
) -> None:
    ratio_B = torch.tensor([ratio], requires_grad=True)
    actual = ppo_loss.surrogate(ratio_B, torch.tensor([advantage]), 0.2)
    actual.backward()  # type: ignore[no-untyped-call]
    assert (float(actual.detach()), float(ratio_B.grad)) == pytest.approx((loss, slope))  # type: ignore[arg-type]


def test_each_row_has_a_squared_error_of_its_own() -> None:
    assert ppo_loss.squared_error(torch.tensor([1.0, 2.0]), torch.tensor([4.0, 4.0])).tolist() == [9.0, 4.0]


@pytest.mark.parametrize(
    ("value", "slope"),
    [
        (1.5, -17.0),  # it has not moved further than the clip: the plain gradient 2 * (1.5 - 10)
        (3.0, 0.0),  # it has moved far enough towards the target
        (-1.0, -22.0),  # it has moved away: the way back stays open
    ],
)
def test_a_value_stops_once_it_has_moved_by_its_clip(value: float, slope: float) -> None:
    value_B = torch.tensor([value], requires_grad=True)
    loss = ppo_loss.clipped_squared_error(value_B, torch.tensor([1.0]), torch.tensor([10.0]), 1.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(value_B.grad) == slope  # type: ignore[arg-type]


def test_the_estimate_of_the_divergence_is_zero_only_for_equal_policies() -> None:
    log_ratio_B = torch.tensor([0.0, 0.5, -0.5])
    terms = [ppo_loss.divergence_estimate(x, x.exp()) for x in log_ratio_B]
    assert terms[0] == 0.0
    assert terms[1] > 0.0 < terms[2]


def test_ratios_outside_of_the_clip_are_named() -> None:
    ratio_B = torch.tensor([0.7, 0.9, 1.1, 1.3])
    assert ppo_loss.is_clipped(ratio_B, 0.2).tolist() == [True, False, False, True]
