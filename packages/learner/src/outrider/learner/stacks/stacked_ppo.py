"""PPO for many policies of one architecture at once. Axes: P policies of the stack, B of a block."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.learner.stacks.block_sequences import num_pieces
from outrider.learner.stacks.stacked_block import BlockTraining
from outrider.learner.stacks.stacked_learner import BlockUpdate, StackedLearner
from outrider.learner.stacks.stacked_minibatches import StackedMinibatchSource, num_minibatches
from outrider.learner.stacks.stacked_rows import RowsByPolicy
from outrider.learner.training.kl_coefficient import adapted_kl_coeff
from outrider.learner.training.ppo_settings import PPOSettings


class StackedPPOLearner(StackedLearner[PPOSettings]):
    """Trains each policy of a stack by PPO, all of them together; obeys `StackLearner`."""

    def _order(self, place_B: NDArray[np.int64], by_policy: RowsByPolicy) -> NDArray[np.int64]:
        streams = by_policy.streams(place_B)
        if streams is None:
            return place_B
        num_sequences_S = num_pieces(streams, self.settings.max_seq_len)
        num_sequences_B = np.bincount(streams.policy_S, num_sequences_S).astype(np.int64)
        num_rows_B = by_policy.num_rows_P[place_B]
        num_minibatches_B = num_minibatches(num_rows_B, num_sequences_B, self.settings.minibatch_size)
        return place_B[np.argsort(-num_minibatches_B, kind="stable")]

    def _train_block(self, update: BlockUpdate) -> dict[str, NDArray[Any]]:
        settings, counters, record = self.settings, update.counters, update.record
        training = BlockTraining(update.steps, settings, update.numbers, counters["kl_coeff"])
        targets, variance_B = training.targets(update.rows)
        source = StackedMinibatchSource(
            update.rows,
            targets,
            training.sequences(update.rows),
            minibatch_size=settings.minibatch_size,
            shuffle_key_B=counters["shuffle_key"],
            update_B=counters["num_updates"],
        )
        training.train(update.rows, source, record)
        kl_coeff_B = counters["kl_coeff"]
        if settings.use_kl_loss:
            kl_coeff_B = adapted_kl_coeff(kl_coeff_B, record.mean_kl_B, update.numbers.kl_target)
        return {
            "explained_variance": variance_B.cpu().numpy(),
            "mean_kl": record.mean_kl_B,
            "kl_coeff": kl_coeff_B,
        }
