"""PPO for many policies of one architecture at once. Axes: P policies of the stack, B of a block."""

from typing import Any

from numpy.typing import NDArray

from outrider.learner.stacks.stacked_block import BlockTraining
from outrider.learner.stacks.stacked_learner import BlockUpdate, StackedLearner
from outrider.learner.stacks.stacked_minibatches import StackedMinibatchSource
from outrider.learner.training.kl_coefficient import adapted_kl_coeff
from outrider.learner.training.ppo_settings import PPOSettings


class StackedPPOLearner(StackedLearner[PPOSettings]):
    """Trains each policy of a stack by PPO, all of them together; obeys `StackLearner`."""

    def _train_block(self, update: BlockUpdate) -> dict[str, NDArray[Any]]:
        settings, counters, record = self.settings, update.counters, update.record
        training = BlockTraining(update.steps, settings, update.numbers, counters["kl_coeff"])
        targets, variance_B = training.targets(update.rows)
        source = StackedMinibatchSource(
            update.rows,
            targets,
            minibatch_size=settings.minibatch_size,
            shuffle_key_B=counters["shuffle_key"],
            update_B=counters["num_updates"],
        )
        training.train(source, record)
        kl_coeff_B = counters["kl_coeff"]
        if settings.use_kl_loss:
            kl_coeff_B = adapted_kl_coeff(kl_coeff_B, record.mean_kl_B, update.numbers.kl_target)
        return {
            "explained_variance": variance_B.cpu().numpy(),
            "mean_kl": record.mean_kl_B,
            "kl_coeff": kl_coeff_B,
        }
