"""Runners whose fragments are numbers, for tests of who asks whom and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from outrider.testing.messages import example_fragment
from outrider.transport import FragmentReference, LocalWeights
from outrider.wire import Fragment, Weights


@dataclass(slots=True)
class NumberedRunner:
    """Counts its fragments from 0 and notes in their rewards who sampled them."""

    index: int
    incarnation: int
    version: int = -1
    num_sampled: int = 0

    def set_weights(self, weights: Weights) -> None:
        """Take the version."""
        self.version = weights.version

    def sample(self) -> Fragment:
        """Return the next fragment, in which only the first rewards and the version are of interest."""
        rewards = np.array([self.index, self.incarnation, self.num_sampled, 0, 0, 0, 0], np.float32)
        self.num_sampled += 1
        return replace(example_fragment(), rewards=rewards, policy_version=np.array([self.version]))

    def get_state(self) -> dict[str, Any]:
        """Return incarnation and count."""
        return {"incarnation": self.incarnation, "num_sampled": self.num_sampled}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self.incarnation, self.num_sampled = state["incarnation"], state["num_sampled"]

    def close(self) -> None:
        """Do nothing."""


def numbered_weights(version: int) -> LocalWeights:
    """Weights of a version for numbered runners."""
    return LocalWeights(Weights(version=version, fingerprint="numbered", tensors={}))


def sampled_by(fragment: FragmentReference) -> tuple[int, int, int]:
    """Return which runner sampled it, in which incarnation, and its number of that incarnation."""
    index, incarnation, number, *_ = fragment.load().rewards.tolist()
    return int(index), int(incarnation), int(number)
