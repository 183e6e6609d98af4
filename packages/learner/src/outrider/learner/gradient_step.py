"""One step of Adam on all ranks at once, skipped where a loss or gradient is not finite."""

import numpy as np
import torch
from torch import Tensor, nn

from outrider.learner.learner import StateTree
from outrider.learner.ppo_settings import PPOSettings
from outrider.learner.ranks import Ranks


class GradientStep:
    """Sums gradients over ranks, clips them and takes the step, without waiting for the device.

    Clipping and skipping are left to the fused optimiser, which divides gradients by `grad_scale`
    and leaves parameters, moments and step count alone where `found_inf` is 1: the contract of
    torch.amp.GradScaler. So there is no pass over the gradients and no wait for the device.
    """

    def __init__(self, module: nn.Module, settings: PPOSettings, ranks: Ranks) -> None:
        trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self._names, self._parameters = [name for name, _ in trained], [p for _, p in trained]
        self._optimizer = torch.optim.Adam(self._parameters, lr=0.0, eps=settings.adam_epsilon, fused=True)
        self._grad_clip = settings.grad_clip
        self._ranks = ranks

    def set_learning_rate(self, learning_rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate

    def take(self, statistics: Tensor) -> Tensor:
        """Step by the gradients that `backward` left, and drop them.

        `statistics` [K] are this rank's share of numbers that must be finite; returns their sums over
        all ranks and the norm of the summed gradient behind them [K + 1].
        """
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if self._ranks.size > 1:
            statistics = self._sum(gradients, statistics)
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        statistics = torch.cat((statistics, norm[None]))
        optimizer = self._optimizer
        # A sum is finite only if all terms are, and costs less than a look at each.
        optimizer.found_inf = (~statistics.sum().isfinite()).float()  # type: ignore[attr-defined]
        if self._grad_clip is not None:
            optimizer.grad_scale = (norm / self._grad_clip).clamp(min=1.0)  # type: ignore[attr-defined]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return statistics

    def get_state(self) -> StateTree:
        """Copy step counts and moments, by the names of the parameters."""
        return {
            name: {key: value.detach().cpu().numpy().copy() for key, value in moments.items()}
            for name, parameter in zip(self._names, self._parameters, strict=True)
            if (moments := self._optimizer.state.get(parameter))
        }

    def set_state(self, state: StateTree) -> None:
        """Take over what `get_state` returned."""
        self._optimizer.state.clear()
        for name, parameter in zip(self._names, self._parameters, strict=True):
            if name in state:
                self._optimizer.state[parameter] = {
                    key: torch.from_numpy(np.array(value)).to(parameter.device)
                    for key, value in state[name].items()
                }

    def _sum(self, gradients: list[Tensor], statistics: Tensor) -> Tensor:
        """Add up gradients in place and return the sum of `statistics`, all in one message."""
        parts = [*gradients, statistics]
        total = self._ranks.sum(torch.cat([part.flatten() for part in parts]))
        summed = torch.split(total, [part.numel() for part in parts])
        for gradient, part in zip(gradients, summed[:-1], strict=True):
            gradient.copy_(part.view_as(gradient))
        return summed[-1]
