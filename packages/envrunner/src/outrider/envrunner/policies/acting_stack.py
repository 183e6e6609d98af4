"""What a runner of several agents needs of policies of one architecture. Axes: N rows, k parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from outrider.wire import ActionHead, Columns, Space, TensorSpec, Weights


class ActingStack(Protocol):
    """Policies of one architecture, which act together in one call."""

    @property
    def name(self) -> str:
        """As `WeightsStack` has it."""
        ...

    @property
    def observation_space(self) -> Space:
        """What every one of these policies sees."""
        ...

    @property
    def action_heads(self) -> tuple[ActionHead, ...]:
        """How action parameters are read."""
        ...

    @property
    def state_spec(self) -> Mapping[str, TensorSpec]:
        """Recurrent state by name, without the batch axis; empty for policies without one."""
        ...

    def set_weights(self, weights: Weights) -> None:
        """Take over those policies of `weights.stacks` that are of this stack and newer than here.

        Raises ValueError where they do not fit; then all stay as they were.
        """
        ...

    def forget(self) -> None:
        """Take the next weights whatever their versions: those of another time of the run are loaded."""
        ...

    def reserve(self, num_policies: int) -> None:
        """Expect so many policies at a time, before any is here: then none moves while others come and go."""
        ...

    def drop(self, policies: NDArray[np.int32]) -> None:
        """Keep the weights of these policies no longer, as far as they are here; they may come again."""
        ...

    def act(
        self, observations: Columns, policy: NDArray[np.int32], state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        """Return action parameters [N, k] and the next recurrent state {name: [N, ...]}.

        `policy` [N] is the number of the policy that acts in each row, ascending. What is returned is
        valid until the next call. The caller does not change `policy` later; where nobody comes or goes it
        is the same array as in the call before. Raises ValueError for a policy whose weights never came.
        """
        ...
