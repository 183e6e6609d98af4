"""What a central critic sees besides the observation: leaves of their own, which acting does without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from outrider.rlmodule.paths import CRITIC_PATH
from outrider.wire import Space, leaf_dtype, leaf_shape, leaves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from outrider.wire import LeafSpace


def critic_leaves(critic_space: Space | None) -> dict[str, LeafSpace]:
    """Return the leaves by path, as observations to value name them; none where there is no such critic."""
    if critic_space is None:
        return {}
    return {f"{CRITIC_PATH}{path}": leaf for path, leaf in leaves(critic_space).items()}


class CentralCritic:
    """Knows whether rows show what the critic needs, and lets a policy act where they do not."""

    def __init__(self, observation_space: Space, critic_space: Space) -> None:
        """Take the number of rows from the observation's first leaf."""
        self._path, leaf = next(iter(leaves(observation_space).items()))
        self._num_leaf_axes = len(leaf_shape(leaf))
        self._leaves = {
            path: (leaf_shape(leaf), getattr(torch, leaf_dtype(leaf).name))
            for path, leaf in critic_leaves(critic_space).items()
        }

    def sees(self, observations: Mapping[str, Tensor]) -> bool:
        """Whether values of these rows mean something."""
        return all(path in observations for path in self._leaves)

    def completed(self, observations: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Put zeros where the critic sees nothing, so that a network can be called to act."""
        if self.sees(observations):
            return observations
        rows = observations[self._path]
        axes = rows.shape[: rows.dim() - self._num_leaf_axes]
        zeros = {
            path: torch.zeros((*axes, *shape), dtype=dtype, device=rows.device)
            for path, (shape, dtype) in self._leaves.items()
        }
        return {**observations, **zeros}

    def known(self, values: Tensor, observations: Mapping[str, Tensor]) -> Tensor:
        """Return the values, or not-a-number for rows in which the critic sees nothing."""
        return values if self.sees(observations) else torch.full_like(values, torch.nan)
