"""Metrics are means over the rows that were learned from."""

import math

import torch

from outrider.learner.metrics import STEP_STATISTICS, mean_statistics


def steps(*values: float) -> torch.Tensor:
    """Make steps whose statistics all have one value."""
    return torch.tensor(values)[:, None].expand(-1, len(STEP_STATISTICS))


def test_a_step_of_more_rows_counts_for_more() -> None:
    assert mean_statistics(steps(1.0, 4.0), [20, 10])["value_loss"] == 2.0


def test_skipped_steps_are_left_out() -> None:
    assert mean_statistics(steps(1.0, math.inf, 3.0), [10, 10, 10])["policy_loss"] == 2.0


def test_nothing_but_skipped_steps_has_no_mean() -> None:
    assert math.isnan(mean_statistics(steps(math.nan), [10])["entropy"])
