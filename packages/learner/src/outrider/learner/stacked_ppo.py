"""PPO for many policies of one architecture at once. Axes: P policies of the stack, B of a block."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from outrider.learner.kl_coefficient import adapted_kl_coeff
from outrider.learner.ppo_settings import PPOSettings
from outrider.learner.stacked_block import BlockTraining
from outrider.learner.stacked_learner import BlockUpdate, StackedLearner
from outrider.learner.stacked_minibatches import StackedMinibatchSource
from outrider.rlmodule import PolicyStack


class StackedPPOLearner(StackedLearner):
    """Trains each policy of a stack by PPO, all of them together; obeys `StackLearner`."""

    def __init__(
        self,
        stack: PolicyStack,
        settings: PPOSettings,
        *,
        numbers: Sequence[int],
        overrides: Mapping[int, Mapping[str, Any]] | None = None,
        name: str = "stack",
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        """See `StackedLearner`."""
        super().__init__(
            stack, settings, numbers=numbers, overrides=overrides, name=name, seed=seed, device=device
        )
        self.settings: PPOSettings = settings

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
