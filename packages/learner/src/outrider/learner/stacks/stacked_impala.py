"""IMPALA for many policies of one architecture at once.

Axes: P policies of the stack, B of a block, R rows of each, S streams, K statistics.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.ranks import OneRank
from outrider.learner.stacks.stacked_learner import BlockUpdate, StackedLearner
from outrider.learner.stacks.stacked_rows import BlockRows, RowsByPolicy
from outrider.learner.stacks.stacked_steps import BlockSteps
from outrider.learner.stacks.stacked_streams import streams_of_block
from outrider.learner.stacks.stacked_vtrace import (
    StackedCoefficients,
    stacked_coefficients,
    targets_and_advantages,
)
from outrider.learner.training import ppo_loss
from outrider.learner.training.advantage_scale import explained_variance
from outrider.learner.training.impala_settings import IMPALASettings


class StackedIMPALALearner(StackedLearner[IMPALASettings]):
    """Trains each policy of a stack as `IMPALALearner` does one; obeys `StackLearner`.

    Where a policy's rows take more than one step, it has an order of its streams of its own.
    """

    def _order(self, place_B: NDArray[np.int64], by_policy: RowsByPolicy) -> NDArray[np.int64]:
        num_parts_B = streams_of_block(by_policy, place_B, self.settings.minibatch_size).num_parts_P
        return place_B[np.argsort(-num_parts_B, kind="stable")]

    def _train_block(self, update: BlockUpdate) -> dict[str, NDArray[Any]]:
        coefficients = stacked_coefficients(update)
        variance_B = torch.full((len(update.place_B),), torch.nan, dtype=torch.float64)
        everybody_B = np.ones(len(update.place_B), np.bool_)
        for epoch in range(self.settings.num_epochs):
            for rows in self._parts(update, epoch):
                first = coefficients.first(len(rows.num_rows_B))
                statistics_KB, is_finite_B, variance = self._step(rows, update.steps, first)
                update.record.add(statistics_KB, is_finite_B, torch.from_numpy(rows.num_rows_B))
                variance_B[: len(variance)] = variance.cpu()
            update.record.end_epoch(everybody_B)
        return {"explained_variance": variance_B.numpy()}

    def _parts(self, update: BlockUpdate, epoch: int) -> Iterator[BlockRows]:
        """Divide the rows of a block for its steps; in the later ones only the first policies have any."""
        streams = streams_of_block(update.by_policy, update.place_B, self.settings.minibatch_size)
        num_parts_B = streams.num_parts_P
        if num_parts_B[0] == 1:
            yield update.rows
            return
        part_S = streams.parts(update.counters["shuffle_key"], update.counters["num_updates"], epoch)
        for part in range(int(num_parts_B[0])):
            place_B = update.place_B[num_parts_B > part]
            yield update.by_policy.of_streams(part_S == part).block(place_B)

    def _step(
        self, rows: BlockRows, steps: BlockSteps, coefficients: StackedCoefficients
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take a gradient step with the first policies, as `IMPALALearner` does with one.

        Returns their STEP_STATISTICS [K, B], whether these are finite [B], and the explained variance [B].
        """
        parameters, value_BS = steps.forward(rows.observations, rows.sequences)
        value_BR = value_BS[:, : rows.width]
        log_prob_BR, entropy_BR = steps.distribution.log_prob_and_entropy(
            parameters[:, : rows.width], rows.actions
        )
        log_ratio_BR = log_prob_BR.detach() - rows.log_prob_BR
        ratio_BR = log_ratio_BR.exp()
        target_BR, advantage_BR = targets_and_advantages(
            rows, steps.scaled(rows.reward_BR), value_BS.detach(), ratio_BR, coefficients, self.settings
        )
        policy_loss = -rows.mean(log_prob_BR * advantage_BR)
        value_loss = rows.mean(ppo_loss.squared_error(value_BR, target_BR))
        entropy = rows.mean(entropy_BR)
        loss = policy_loss + coefficients.vf_loss_B * value_loss - coefficients.entropy_B * entropy
        with torch.no_grad():
            divergence = rows.mean(ppo_loss.divergence_estimate(log_ratio_BR, ratio_BR))
            cut = rows.mean((ratio_BR > self.settings.ratio_bounds().rho).float())
            means_KB = torch.stack((policy_loss, value_loss, entropy, divergence, cut, loss))
        variance_B = explained_variance(value_BR.detach(), target_BR, OneRank(), rows.is_row_BR)
        return *steps.take(loss, means_KB), variance_B
