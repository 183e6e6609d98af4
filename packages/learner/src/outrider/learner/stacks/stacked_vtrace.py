"""What IMPALA and APPO have in common where policies are stacked. Axes: B policies, R rows of each."""

from typing import NamedTuple

from torch import Tensor

from outrider.learner.ranks import OneRank
from outrider.learner.stacks.stacked_learner import BlockUpdate
from outrider.learner.stacks.stacked_rows import BlockRows
from outrider.learner.training.advantage_scale import standardise
from outrider.learner.training.vtrace import vtrace
from outrider.learner.training.vtrace_settings import VTraceSettings


class StackedCoefficients(NamedTuple):
    """Of each policy [B]; 0 where an algorithm has no such."""

    discount_B: Tensor
    trace_decay_B: Tensor
    vf_loss_B: Tensor
    entropy_B: Tensor
    clip_B: Tensor
    kl_B: Tensor

    def first(self, num_policies: int) -> "StackedCoefficients":
        """Return those of the first policies."""
        return StackedCoefficients(*(number_B[:num_policies] for number_B in self))


def stacked_coefficients(update: BlockUpdate) -> StackedCoefficients:
    """Return what is in force in an update of a block."""
    numbers = update.numbers
    columns = (numbers.gamma, numbers.lambda_, numbers.vf_loss_coeff, numbers.entropy_coeff)
    return StackedCoefficients(
        *map(update.steps.tensor, (*columns, numbers.clip_param, update.counters["kl_coeff"]))
    )


def targets_and_advantages(
    rows: BlockRows,
    reward_BR: Tensor,
    value_BS: Tensor,
    ratio_BR: Tensor,
    coefficients: StackedCoefficients,
    settings: VTraceSettings,
) -> tuple[Tensor, Tensor]:
    """Return what values should be, and advantages, [B, R] each; see `vtrace`.

    `value_BS` are those of rows and of what followed them, without gradient.
    """
    target_BR, advantage_BR = vtrace(
        reward_BR,
        value_BS[:, : rows.width],
        rows.next_values(value_BS),
        rows.terminated_BR,
        rows.followed_BR,
        ratio_BR,
        discount=coefficients.discount_B[:, None],
        trace_decay=coefficients.trace_decay_B[:, None],
        bounds=settings.ratio_bounds(),
    )
    if settings.normalize_advantages:
        advantage_BR = standardise(advantage_BR, OneRank(), rows.is_row_BR)
    return target_BR, advantage_BR
