"""Which policy acts for which agent: chosen for each episode of an environment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Episode:
    """An episode that begins, as a mapping function sees it."""

    id_: str
    """Different for every episode of a run."""
    environment: int
    """Environment copy, counted over all runners of a run."""
    number: int
    """Episodes of this copy before it."""
    seed: tuple[int, ...] = (0,)
    """Different for every episode of a run, and the same for the same one of a run with the same seed."""

    @cached_property
    def rng(self) -> np.random.Generator:
        """For mappings that draw; made when somebody does, as that takes 20 us."""
        return np.random.default_rng(self.seed)


class PolicyMapping(Protocol):
    """Says who acts for whom."""

    def assign(self, episode: Episode) -> NDArray[np.int32]:
        """Return the number of the policy that acts for each agent slot, [A], in this episode.

        The array is not changed later; one that was returned before may be returned again.
        Raises ValueError, naming agent and policy, for a policy that there is not or that does not fit.
        """
        ...
