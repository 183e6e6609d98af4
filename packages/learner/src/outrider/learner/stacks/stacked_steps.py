"""Gradient steps with the policies of a block, whatever their loss is.

Axes: B policies, R rows of each, K statistics.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.stacks.per_policy import PolicyNumbers
from outrider.learner.stacks.stacked_adam import StackedAdam
from outrider.learner.stacks.stacked_policies import Block
from outrider.learner.stacks.stacked_rows import BlockRows
from outrider.learner.training.estimates import MAX_CHUNK_NUMBERS
from outrider.rlmodule import (
    Moments,
    PolicyStack,
    StackedSequences,
    stacked_moments,
    weight_gradients_left_out,
)


class BlockSteps:
    """The policies of a block during one update, changed in place. Those that rest stand at the end."""

    def __init__(
        self,
        stack: PolicyStack,
        block: Block,
        numbers: PolicyNumbers,
        *,
        adam_epsilon: float,
        num_steps_B: NDArray[Any],
    ) -> None:
        self.distribution = stack.plain.distribution
        self._stack, self._block, self._tensors = stack, block, block.tensors
        self._device = next(iter(block.weights.values())).device
        self._adam = StackedAdam(
            block,
            self.tensor(num_steps_B),
            learning_rate_B=self.tensor(numbers.lr),
            grad_clip_B=self.tensor(numbers.grad_clip),
            epsilon=adam_epsilon,
        )
        self._leaves: dict[int, dict[str, Tensor]] = {}
        self.is_training_B = torch.ones(len(num_steps_B), dtype=torch.bool, device=self._device)
        """Those that are not take no steps."""

    def tensor(self, number_B: NDArray[Any]) -> Tensor:
        """Bring a number for each policy to the device."""
        return torch.from_numpy(number_B).to(self._device, torch.float32)

    def evaluate(self, observations: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return action parameters and values without a step in mind, a part of the rows at a time."""
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

    def walk(
        self, observations: Mapping[str, Tensor], sequences: StackedSequences
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Do the same with policies that remember; also return the state after each place."""
        return self._stack.unroll_with(self._tensors, observations, sequences)

    def forward(
        self, observations: Mapping[str, Tensor], sequences: StackedSequences | None
    ) -> tuple[Tensor, Tensor]:
        """Return action parameters and values of the first policies, for `take`.

        `sequences` are those of the rows where policies remember.
        """
        num_policies = len(next(iter(observations.values())))
        others = {name: tensor[:num_policies] for name, tensor in self._block.others.items()}
        tensors = self._leaves_of(num_policies) | others
        return outputs_with(self._stack, tensors, observations, sequences)

    def take(self, loss_B: Tensor, means_KB: Tensor) -> tuple[Tensor, Tensor]:
        """Take a step with each policy that a loss is given of, or skip it where numbers are not finite.

        Returns their STEP_STATISTICS [K, B], the norm of the gradient behind `means_KB`, and whether these
        are finite [B], without waiting for them.
        """
        num_policies = len(loss_B)
        leaves = self._leaves_of(num_policies)
        # Policies share no number, so the gradient of the sum is that of each by itself.
        with weight_gradients_left_out(leaves.values()) as left_out:
            gradients = torch.autograd.grad(loss_B.sum(), list(leaves.values()), allow_unused=True)
        products = {name: product for name, leaf in leaves.items() if (product := left_out.of(leaf))}
        with torch.no_grad():
            may_step_B = means_KB.isfinite().all(0) & self.is_training_B[:num_policies]
            norm_B = self._adam.take(dict(zip(leaves, gradients, strict=True)), may_step_B, products)
            statistics_KB = torch.cat((means_KB, norm_B[None]))
            is_finite_B = statistics_KB.isfinite().all(0)
        return statistics_KB, is_finite_B

    @torch.no_grad()
    def count_returns(self, return_BR: Tensor | None, is_row_BR: Tensor) -> None:
        """Merge discounted returns into the normalisers of rewards, if there are any."""
        normalizer = self._stack.reward_normalizer(self._tensors)
        if normalizer is not None and return_BR is not None:
            normalizer.merge(stacked_moments(return_BR, is_row_BR))

    @torch.no_grad()
    def scaled(self, reward_BR: Tensor) -> Tensor:
        """Return the rewards of the first policies as they learn from them."""
        num_policies = len(reward_BR)
        tensors = {name: tensor[:num_policies] for name, tensor in self._tensors.items()}
        normalizer = self._stack.reward_normalizer(tensors)
        return reward_BR if normalizer is None else normalizer.scale_only(reward_BR)

    @torch.no_grad()
    def observe(self, rows: BlockRows) -> None:
        """Merge the observations into the normalisers, but those of policies that are not finite."""
        normalizer = self._stack.observation_normalizer(self._tensors)
        if normalizer is None:
            return
        observations = {path: leaf[:, : rows.width] for path, leaf in rows.observations.items()}
        measured = normalizer.measure_stacked(observations, rows.is_row_BR)
        normalizer.merge({path: _finite(part) for path, part in measured.items()})

    def _leaves_of(self, num_policies: int) -> dict[str, Tensor]:
        """Return the trained tensors of the first policies, which gradients end in.

        They are views of the weights, so that a step changes them; and no slices of leaves, whose
        gradient would be as large as that of all policies.
        """
        if num_policies not in self._leaves:
            self._leaves[num_policies] = {
                name: tensor[:num_policies].detach().requires_grad_()
                for name, tensor in self._block.weights.items()
            }
        return self._leaves[num_policies]


def outputs_with(
    stack: PolicyStack,
    tensors: Mapping[str, Tensor],
    observations: Mapping[str, Tensor],
    sequences: StackedSequences | None,
) -> tuple[Tensor, Tensor]:
    """Return action parameters and values of policies, whether they remember or not."""
    if sequences is None:
        return stack.forward_with(tensors, observations)
    parameters, values, _ = stack.unroll_with(tensors, observations, sequences)
    return parameters, values


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
