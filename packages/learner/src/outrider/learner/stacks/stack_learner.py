"""What a learner for several agents sees of the policies of one architecture. Axes: P policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from outrider.learner.learner import Learner, StateTree


class StackLearner(Learner, Protocol):
    """Trains policies of one architecture; what one of them learns depends on none of the others.

    Fragments given to `load` hold rows of these policies only. Between `load` and `update_rows` policies
    may be frozen or removed; their rows are then left out, and where no row is left nothing is trained
    and metrics are empty. `publish` returns weights with one `WeightsStack`, whose versions may count
    from anywhere: a policy has another version than before exactly where it has changed.
    """

    @property
    def numbers(self) -> NDArray[np.int32]:
        """[P] numbers of the policies, ascending."""
        ...

    def add(
        self, number: int, *, like: int | None, seed: int, overrides: Mapping[str, Any] | None = None
    ) -> None:
        """Take in a policy: a copy of policy `like`, with its optimiser, or a new one made from `seed`.

        `overrides` are training settings of its own; without any, a copy has those of the other. Raises
        ValueError where there is no room for it, or no policy `like`.
        """
        ...

    def remove(self, number: int) -> None:
        """Forget a policy. Raises ValueError where there is none of this number."""
        ...

    def freeze(self, numbers: Sequence[int]) -> None:
        """Let these policies stay as they are; optimiser and counts too."""
        ...

    def thaw(self, numbers: Sequence[int]) -> None:
        """Let these policies train again, from where they stopped."""
        ...

    def policy_metrics(self) -> dict[str, NDArray[Any]]:
        """Return the newest update's metrics of each policy, [P]; nan where it did not train."""
        ...

    @property
    def diverged(self) -> Mapping[int, str]:
        """Numbers of the policies that diverged in the newest update, and why.

        Too many of their gradient steps in a row were skipped; their weights are finite. They go on trying
        until they are frozen.
        """
        ...

    def policy_state(self, number: int) -> StateTree:
        """Copy everything that one policy goes on from; "fingerprint" and "module" are its weights."""
        ...

    def set_policy_state(self, number: int, state: StateTree) -> None:
        """Take over what `policy_state` returned, of this policy or another of the architecture."""
        ...
