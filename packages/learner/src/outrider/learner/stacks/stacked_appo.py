"""APPO for many policies of one architecture at once.

Axes: P policies of the stack, B of a block, R rows of each, S streams, K statistics.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.learner import StateTree
from outrider.learner.ranks import OneRank
from outrider.learner.rows.fragment_rows import Rows
from outrider.learner.stacks.stacked_buffer import Batch, StackedBuffer
from outrider.learner.stacks.stacked_learner import BlockUpdate, StackedLearner
from outrider.learner.stacks.stacked_rows import BlockRows, RowsByPolicy
from outrider.learner.stacks.stacked_steps import BlockSteps, outputs_with
from outrider.learner.stacks.stacked_streams import streams_of_block
from outrider.learner.stacks.stacked_vtrace import (
    StackedCoefficients,
    stacked_coefficients,
    targets_and_advantages,
)
from outrider.learner.training import ppo_loss
from outrider.learner.training.advantage_scale import explained_variance
from outrider.learner.training.appo_settings import APPOSettings
from outrider.learner.training.kl_coefficient import adapted_kl_coeff

TARGET = "target"


class StackedAPPOLearner(StackedLearner[APPOSettings]):
    """Trains each policy of a stack as `APPOLearner` does one; obeys `StackLearner`.

    Each has a target network, and counts updates and uses of its rows, by itself. What lies in the buffer
    is not part of a state, and is dropped where one is set.
    """

    def _prepare(self) -> None:
        self._kept.keep_copy(TARGET)
        self._buffer = StackedBuffer(
            self.settings.circular_buffer_num_batches, self.settings.circular_buffer_iterations_per_batch
        )
        self._batches: list[Batch] = []
        self._fresh: Rows | None = None

    def set_state(self, state: StateTree) -> None:
        super().set_state(state)
        self._buffer.forget()

    def set_policy_state(self, number: int, state: StateTree) -> None:
        super().set_policy_state(number, state)
        self._buffer.forget_policy(number)

    def _take_earlier_rows(self, number: int) -> list[Rows]:
        return self._buffer.take_policy(number)

    def _put_earlier_rows(self, earlier: list[Rows]) -> None:
        self._buffer.put_earlier(earlier)

    def _begin_update(self, rows: Rows, place_S: NDArray[np.int64]) -> None:
        self._fresh = replace(rows, reward_N=rows.reward_N.clone())
        self._batches = self._buffer.put(self._fresh, place_S, self._places_of, len(self._kept))

    def _train_block(self, update: BlockUpdate) -> dict[str, NDArray[Any]]:
        self._keep_scaled_rewards(update)
        coefficients = stacked_coefficients(update)
        places = torch.from_numpy(update.place_B).to(coefficients.clip_B.device)
        target = {name: t.index_select(0, places) for name, t in self._kept.copies[TARGET].items()}
        variance_B = torch.full((len(places),), torch.nan, dtype=torch.float64)
        for takes_part_B, parts in self._passes(update):
            for rows in parts:
                statistics_KB, is_finite_B, variance = self._step(rows, update.steps, target, coefficients)
                num_rows_B = torch.from_numpy(rows.num_rows_B)
                update.record.add(statistics_KB, is_finite_B, num_rows_B)
                variance_B = torch.where(num_rows_B > 0, variance.cpu(), variance_B)
            update.record.end_epoch(takes_part_B)
        kl_coeff_B = update.counters["kl_coeff"]
        if self.settings.use_kl_loss:
            adapted_B = adapted_kl_coeff(kl_coeff_B, update.record.mean_kl_B, update.numbers.kl_target)
            kl_coeff_B = np.where(self._is_due(update), adapted_B, kl_coeff_B)
        return {"explained_variance": variance_B.numpy(), "kl_coeff": kl_coeff_B}

    @torch.no_grad()
    def _end_block(self, update: BlockUpdate) -> None:
        """Bring target networks up to date that are due; normaliser statistics are copied."""
        place = update.place_B[self._is_due(update)]
        for name, behind in self._kept.copies[TARGET].items():
            places = torch.from_numpy(place).to(behind.device)
            ahead = self.stack.tensors[name][places]
            is_trained = name in self._kept.first_moments
            behind[places] = torch.lerp(behind[places], ahead, self.settings.tau) if is_trained else ahead

    def _is_due(self, update: BlockUpdate) -> NDArray[np.bool_]:
        is_due: NDArray[np.bool_] = (
            update.counters["num_updates"] + 1
        ) % self.settings.target_network_update_freq == 0
        return is_due

    def _keep_scaled_rewards(self, update: BlockUpdate) -> None:
        """Let rewards be for every later use what they are now."""
        assert self._fresh is not None
        is_row_BR, row_BR = update.rows.is_row_BR, update.rows.row_BR
        scaled_BR = update.steps.scaled(update.rows.reward_BR)
        self._fresh.reward_N[row_BR[is_row_BR]] = scaled_BR[is_row_BR]

    def _passes(self, update: BlockUpdate) -> Iterator[tuple[NDArray[np.bool_], Iterator[BlockRows]]]:
        """Go through all uses of all batches; say which policies take part [B], and give their rows."""
        settings, pass_B = self.settings, np.zeros(len(update.place_B), np.int64)
        for batch in self._batches:
            num_uses_B = batch.num_uses_P[update.place_B]
            for use in range(int(num_uses_B.max())):
                takes_part_B = num_uses_B > use
                is_taken_P = np.zeros(len(batch.num_uses_P) + 1, np.bool_)
                is_taken_P[update.place_B] = takes_part_B
                by_policy = batch.by_policy.of_streams(is_taken_P[batch.by_policy.place_S])
                for _ in range(settings.num_epochs):
                    yield takes_part_B, self._parts(update, by_policy, pass_B)
                    pass_B = pass_B + takes_part_B

    def _parts(
        self, update: BlockUpdate, by_policy: RowsByPolicy, pass_B: NDArray[np.int64]
    ) -> Iterator[BlockRows]:
        """Divide the rows of a pass for its steps; `pass_B` counts a policy's passes of an update."""
        streams = streams_of_block(by_policy, update.place_B, self.settings.minibatch_size)
        num_parts = int(streams.num_parts_P.max())
        if num_parts == 1:
            yield by_policy.block(update.place_B)
            return
        part_S = streams.parts(update.counters["shuffle_key"], update.counters["num_updates"], pass_B)
        for part in range(num_parts):
            yield by_policy.of_streams(part_S == part).block(update.place_B)

    def _step(
        self,
        rows: BlockRows,
        steps: BlockSteps,
        target: Mapping[str, Tensor],
        coefficients: StackedCoefficients,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take a gradient step with the policies that have rows, as `APPOLearner` does with one.

        Returns their STEP_STATISTICS [K, B], whether these are finite [B], and the explained variance [B].
        """
        settings, distribution, width = self.settings, steps.distribution, rows.width
        with torch.no_grad():
            behind, behind_BS = outputs_with(self.stack, target, rows.observations, rows.sequences)
            behind = behind[:, :width]
            target_log_prob_BR = distribution.log_prob(behind, rows.actions)
            target_ratio_BR = (target_log_prob_BR - rows.log_prob_BR).exp()
        target_BR, advantage_BR = targets_and_advantages(
            rows, rows.reward_BR, behind_BS, target_ratio_BR, coefficients, settings
        )
        parameters, value_BS = steps.forward(rows.observations, rows.sequences)
        parameters, value_BR = parameters[:, :width], value_BS[:, :width]
        log_prob_BR, entropy_BR = distribution.log_prob_and_entropy(parameters, rows.actions)
        soundness_BR = target_ratio_BR.reciprocal().clamp(max=settings.target_worker_clipping)
        ratio_BR = soundness_BR * (log_prob_BR - rows.log_prob_BR).exp()
        clip_B1 = coefficients.clip_B[:, None]
        policy_loss = rows.mean(ppo_loss.surrogate(ratio_BR, advantage_BR, clip_B1))
        value_loss = rows.mean(ppo_loss.squared_error(value_BR, target_BR))
        entropy = rows.mean(entropy_BR)
        loss = policy_loss + coefficients.vf_loss_B * value_loss - coefficients.entropy_B * entropy
        if settings.use_kl_loss:
            divergence = rows.mean(distribution.kl(behind, parameters))
            loss = loss + coefficients.kl_B * divergence
        else:
            log_ratio_BR = log_prob_BR.detach() - target_log_prob_BR
            divergence = rows.mean(ppo_loss.divergence_estimate(log_ratio_BR, log_ratio_BR.exp()))
        with torch.no_grad():
            clipped = rows.mean(ppo_loss.is_clipped(ratio_BR, clip_B1).float())
            means_KB = torch.stack((policy_loss, value_loss, entropy, divergence, clipped, loss))
        steps.is_training_B.copy_(torch.from_numpy(rows.num_rows_B > 0))
        variance_B = explained_variance(value_BR.detach(), target_BR, OneRank(), rows.is_row_BR)
        return *steps.take(loss, means_KB), variance_B
