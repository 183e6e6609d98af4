"""What a runner needs of a policy: new weights, and the distribution of the next actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from outrider.wire import Columns, TensorSpec, Weights


class ActingPolicy(Protocol):
    """Turns observations into action parameters. It neither samples nor learns."""

    @property
    def state_spec(self) -> Mapping[str, TensorSpec]:
        """Recurrent state by name, without the batch axis; empty for a policy without one."""
        ...

    def set_weights(self, weights: Weights) -> None:
        """Replace all weights. Raises ValueError where they do not fit; then the old ones stay."""
        ...

    def act(
        self, observations: Columns, state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        """Return action parameters [B, k] and the next recurrent state {name: [B, ...]}.

        `observations` and `state` have B rows, any number of which a policy must take. The caller keeps
        its arrays; what is returned belongs to the policy and is valid until the next call.
        """
        ...


def require_fit(weights: Weights, fingerprint: str) -> None:
    """Raise ValueError unless the weights were made for the module with this fingerprint."""
    if weights.fingerprint != fingerprint:
        raise ValueError(
            f"weights version {weights.version} fit module {weights.fingerprint}, but this policy is "
            f"{fingerprint}; send weights of the module that the policy was exported from"
        )
