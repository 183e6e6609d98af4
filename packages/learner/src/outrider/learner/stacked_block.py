"""An update of PPO for the policies of a block, all of it as in `outrider.learner.ppo` for each by itself.

Axes: B policies, R rows of each, W of them in a minibatch, D trained numbers of a policy, K statistics.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.advantage_scale import explained_variance, standardise
from outrider.learner.estimates import MAX_CHUNK_NUMBERS
from outrider.learner.gae import gae
from outrider.learner.per_policy import PolicyNumbers
from outrider.learner.ppo_loss import Coefficients, Number, ppo_loss
from outrider.learner.ppo_settings import PPOSettings
from outrider.learner.ranks import OneRank
from outrider.learner.stacked_adam import StackedAdam
from outrider.learner.stacked_minibatches import StackedMinibatch, StackedMinibatchSource, StackedTargets
from outrider.learner.stacked_policies import Block, Layout
from outrider.learner.stacked_record import StackedRecord
from outrider.learner.stacked_rows import BlockRows
from outrider.rlmodule import Moments, PolicyStack, stacked_moments


class BlockTraining:
    """Trains the policies of one block for one update, in place."""

    def __init__(
        self,
        stack: PolicyStack,
        layout: Layout,
        block: Block,
        settings: PPOSettings,
        numbers: PolicyNumbers,
        *,
        kl_coeff_B: NDArray[np.float64],
        num_steps_B: NDArray[np.int64],
    ) -> None:
        self._stack, self._layout, self._block = stack, layout, block
        self._settings = settings
        self._tensors = layout.views(block.weight_BD) | block.others
        device = block.weight_BD.device

        def tensor(number_B: NDArray[Any]) -> Tensor:
            return torch.from_numpy(number_B).to(device, torch.float32)

        self._discount_B1, self._trace_decay_B1 = (
            tensor(numbers.gamma)[:, None],
            tensor(numbers.lambda_)[:, None],
        )
        self._coefficients = Coefficients(
            clip=tensor(numbers.clip_param)[:, None],
            vf_clip_param=settings.vf_clip_param,
            vf_loss_coeff=tensor(numbers.vf_loss_coeff),
            entropy_coeff=tensor(numbers.entropy_coeff),
            kl_coeff=tensor(kl_coeff_B),
        )
        self._adam = StackedAdam(
            block.weight_BD,
            block.first_BD,
            block.second_BD,
            tensor(num_steps_B),
            learning_rate_B=tensor(numbers.lr),
            grad_clip_B=tensor(numbers.grad_clip),
            epsilon=settings.adam_epsilon,
        )
        self._gradient_BD = torch.empty_like(block.weight_BD)
        self._leaves: dict[int, dict[str, Tensor]] = {}
        self._is_training_B = torch.ones(len(block.weight_BD), dtype=torch.bool, device=device)

    @torch.no_grad()
    def targets(self, rows: BlockRows, return_BR: Tensor | None) -> tuple[StackedTargets, Tensor]:
        """Estimate advantages and what values should have been; also the explained variance [B].

        `return_BR` are the discounted returns by which rewards are scaled, if they are.
        """
        settings = self._settings
        parameters, value_BS = self._evaluate(rows.observations)
        value_BR = value_BS[:, : rows.width]
        advantage_BR = gae(
            self._scaled_rewards(rows, return_BR),
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

    def train(self, source: StackedMinibatchSource, record: StackedRecord) -> None:
        """Take all gradient steps."""
        limit = self._settings.early_stop_kl
        for epoch in range(self._settings.num_epochs):
            for minibatch in source.epoch(epoch):
                record.add(*self._step(minibatch), minibatch.num_rows)
            is_training_B = self._is_training_B.cpu().numpy()
            record.end_epoch(is_training_B)
            if limit is not None:
                is_training_B = is_training_B & ~(record.mean_kl_B > limit)
                self._is_training_B = torch.from_numpy(is_training_B).to(self._is_training_B.device)
                if not is_training_B.any():
                    break

    def observe(self, rows: BlockRows) -> None:
        """Merge the observations into the normalisers, but those of policies that are not finite."""
        normalizer = self._stack.observation_normalizer(self._tensors)
        if normalizer is None:
            return
        observations = {path: leaf[:, : rows.width] for path, leaf in rows.observations.items()}
        measured = normalizer.measure_stacked(observations, rows.is_row_BR)
        normalizer.merge({path: _finite(part) for path, part in measured.items()})

    def _scaled_rewards(self, rows: BlockRows, return_BR: Tensor | None) -> Tensor:
        normalizer = self._stack.reward_normalizer(self._tensors)
        if normalizer is None or return_BR is None:
            return rows.reward_BR
        normalizer.merge(stacked_moments(return_BR, rows.is_row_BR))
        return normalizer.scale_only(rows.reward_BR)

    def _evaluate(self, observations: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        num_chunks = -(-sum(leaf.numel() for leaf in observations.values()) // MAX_CHUNK_NUMBERS)
        if num_chunks <= 1:
            return self._stack.forward_with(self._tensors, observations)
        chunks = zip(*(leaf.tensor_split(num_chunks, 1) for leaf in observations.values()), strict=True)
        outputs = [
            self._stack.forward_with(self._tensors, dict(zip(observations, chunk, strict=True)))
            for chunk in chunks
        ]
        return torch.cat([output[0] for output in outputs], 1), torch.cat(
            [output[1] for output in outputs], 1
        )

    def _step(self, minibatch: StackedMinibatch) -> tuple[Tensor, Tensor]:
        """Take a gradient step with each policy of a minibatch, or skip it.

        Returns their STEP_STATISTICS [K, B], and whether these are finite [B], without waiting for them.
        """
        num_policies = len(minibatch.num_rows)
        leaves = self._leaves_of(num_policies)
        others = {name: tensor[:num_policies] for name, tensor in self._block.others.items()}
        parameters, value_BW = self._stack.forward_with(leaves | others, minibatch.observations)
        loss_B, means_KB = ppo_loss(
            self._stack.plain.distribution,
            parameters,
            value_BW,
            minibatch,
            _first(self._coefficients, num_policies),
            total=minibatch.mean,
        )
        # Policies share no number, so the gradient of the sum is that of each by itself.
        gradients = torch.autograd.grad(loss_B.sum(), list(leaves.values()), allow_unused=True)
        with torch.no_grad():
            gradient_BD = self._gradient_BD[:num_policies]
            self._layout.join(dict(zip(leaves, gradients, strict=True)), gradient_BD)
            norm_B = torch.linalg.vector_norm(gradient_BD, dim=1)
            statistics_KB = torch.cat((means_KB, norm_B[None]))
            is_finite_B = statistics_KB.isfinite().all(0)
            self._adam.take(gradient_BD, norm_B, is_finite_B & self._is_training_B[:num_policies])
        return statistics_KB, is_finite_B

    def _leaves_of(self, num_policies: int) -> dict[str, Tensor]:
        """Return the trained tensors of the first policies, which gradients end in.

        They are views of the weights, so that a step changes them; and no slices of leaves, whose
        gradient would be as large as that of all policies.
        """
        if num_policies not in self._leaves:
            views = self._layout.views(self._block.weight_BD[:num_policies])
            self._leaves[num_policies] = {n: view.detach().requires_grad_() for n, view in views.items()}
        return self._leaves[num_policies]


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


def _finite(part: Moments) -> Moments:
    """Return moments without those of policies whose numbers are not finite, as if they had no rows."""
    is_finite_B = part.m2.flatten(1).isfinite().all(1) if part.m2.dim() > 1 else part.m2.isfinite()
    is_finite = is_finite_B.reshape(-1, *[1] * (part.m2.dim() - 1))
    return replace(
        part,
        count=torch.where(is_finite_B, part.count, 0.0),
        mean=torch.where(is_finite, part.mean, 0.0),
        m2=torch.where(is_finite, part.m2, 0.0),
    )
