"""An update of PPO for the policies of a block, each as in `outrider.learner.training.ppo`.

Axes: B policies, R rows of each, W of them in a minibatch, D trained numbers of a policy, K statistics.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.ranks import OneRank
from outrider.learner.stacks.block_sequences import BlockSequences
from outrider.learner.stacks.per_policy import PolicyNumbers
from outrider.learner.stacks.stacked_minibatches import (
    StackedMinibatch,
    StackedMinibatchSource,
    StackedTargets,
)
from outrider.learner.stacks.stacked_record import StackedRecord
from outrider.learner.stacks.stacked_rows import BlockRows
from outrider.learner.stacks.stacked_steps import BlockSteps
from outrider.learner.training.advantage_scale import explained_variance, standardise
from outrider.learner.training.gae import gae
from outrider.learner.training.ppo_loss import Coefficients, Number, ppo_loss
from outrider.learner.training.ppo_settings import PPOSettings


class BlockTraining:
    """Trains the policies of one block for one update, in place."""

    def __init__(
        self,
        steps: BlockSteps,
        settings: PPOSettings,
        numbers: PolicyNumbers,
        kl_coeff_B: NDArray[np.float64],
    ) -> None:
        self._steps, self._settings = steps, settings
        self._next_outputs: tuple[Tensor, Tensor] | None = None
        self._states: dict[str, Tensor] = {}
        self._discount_B1 = steps.tensor(numbers.gamma)[:, None]
        self._trace_decay_B1 = steps.tensor(numbers.lambda_)[:, None]
        self._coefficients = Coefficients(
            clip=steps.tensor(numbers.clip_param)[:, None],
            vf_clip_param=settings.vf_clip_param,
            vf_loss_coeff=steps.tensor(numbers.vf_loss_coeff),
            entropy_coeff=steps.tensor(numbers.entropy_coeff),
            kl_coeff=steps.tensor(kl_coeff_B),
        )

    def targets(self, rows: BlockRows) -> tuple[StackedTargets, Tensor]:
        """Estimate advantages and what values should have been; also the explained variance [B].

        Where a minibatch holds all rows, and no stream is cut, the next step needs the very pass that this
        makes; it is kept.
        """
        if rows.num_rows_B.max() <= self._settings.minibatch_size and not self._cuts(rows):
            parameters, value_BS = self._steps.forward(rows.observations, rows.sequences)
            self._next_outputs = parameters[:, : rows.width], value_BS[:, : rows.width]
            return self._targets(rows, parameters.detach(), value_BS.detach())
        with torch.no_grad():
            if rows.sequences is None:
                return self._targets(rows, *self._steps.evaluate(rows.observations))
            parameters, value_BS, self._states = self._steps.walk(rows.observations, rows.sequences)
            return self._targets(rows, parameters, value_BS)

    def sequences(self, rows: BlockRows) -> BlockSequences | None:
        """Cut the streams of policies that remember, after `targets`; None where they do not."""
        if rows.streams is None or rows.sequences is None:
            return None
        return BlockSequences(
            rows.streams,
            rows.sequences,
            self._states,
            max_seq_len=self._settings.max_seq_len,
            num_rows_B=rows.num_rows_B,
        )

    def _cuts(self, rows: BlockRows) -> bool:
        return rows.streams is not None and int(rows.streams.length_S.max()) > self._settings.max_seq_len

    @torch.no_grad()
    def _targets(
        self, rows: BlockRows, parameters: Tensor, value_BS: Tensor
    ) -> tuple[StackedTargets, Tensor]:
        settings = self._settings
        value_BR = value_BS[:, : rows.width]
        advantage_BR = gae(
            self._steps.scaled(rows.reward_BR),
            value_BR,
            rows.next_values(value_BS),
            rows.terminated_BR,
            rows.followed_BR,
            discount=self._discount_B1,
            trace_decay=self._trace_decay_B1,
        )
        target_BR = advantage_BR + value_BR
        variance_B = explained_variance(value_BR, target_BR, OneRank(), rows.is_row_BR)
        if settings.normalize_advantages:
            advantage_BR = standardise(advantage_BR, OneRank(), rows.is_row_BR)
        acting = parameters[:, : rows.width] if rows.parameters is None else rows.parameters
        targets = StackedTargets(
            advantage_BR=advantage_BR,
            value_BR=value_BR,
            value_target_BR=target_BR,
            parameters=acting if settings.use_kl_loss else None,
        )
        return targets, variance_B

    def train(self, rows: BlockRows, source: StackedMinibatchSource, record: StackedRecord) -> None:
        """Take all gradient steps."""
        limit = self._settings.early_stop_kl
        for epoch in range(self._settings.num_epochs):
            if epoch and self._settings.recompute_advantages:
                source.take_targets(self.targets(rows)[0])
            for minibatch in source.epoch(epoch):
                record.add(*self._step(minibatch), minibatch.num_rows)
            is_training_B = self._steps.is_training_B.cpu().numpy()
            record.end_epoch(is_training_B)
            if limit is not None:
                is_training_B = is_training_B & ~(record.mean_kl_B > limit)
                self._steps.is_training_B.copy_(torch.from_numpy(is_training_B))
                if not is_training_B.any():
                    break

    def _step(self, minibatch: StackedMinibatch) -> tuple[Tensor, Tensor]:
        """Take a gradient step with each policy of a minibatch, or skip it.

        Returns their STEP_STATISTICS [K, B], and whether these are finite [B], without waiting for them.
        """
        outputs, self._next_outputs = self._next_outputs, None
        parameters, value_BW = outputs or self._steps.forward(minibatch.observations, minibatch.sequences)
        loss_B, means_KB = ppo_loss(
            self._steps.distribution,
            parameters,
            value_BW,
            minibatch,
            _first(self._coefficients, len(minibatch.num_rows)),
            total=minibatch.mean,
        )
        return self._steps.take(loss_B, means_KB)


def _first(coefficients: Coefficients, num_policies: int) -> Coefficients:
    """Return the coefficients of the first policies."""

    def cut(number: Number) -> Number:
        return number[:num_policies] if isinstance(number, Tensor) else number

    return Coefficients(
        clip=cut(coefficients.clip),
        vf_clip_param=coefficients.vf_clip_param,
        vf_loss_coeff=cut(coefficients.vf_loss_coeff),
        entropy_coeff=cut(coefficients.entropy_coeff),
        kl_coeff=cut(coefficients.kl_coeff),
    )
