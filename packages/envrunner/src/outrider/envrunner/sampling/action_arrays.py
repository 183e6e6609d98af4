"""Where the actions of all agents are written, for an environment to read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import MultiAgentVector
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.wire import leaf_dtype, leaf_shape, leaves


class ActionArrays:
    """What all agents do, for each group {leaf path: [E, G, ...]}, and the same memory as [E * G, ...]."""

    def __init__(self, vector: MultiAgentVector) -> None:
        """Make the arrays, which stay."""
        self.columns: list[dict[str, NDArray[Any]]] = [
            {
                path: np.zeros((vector.num_envs, len(group.slots), *leaf_shape(leaf)), leaf_dtype(leaf))
                for path, leaf in leaves(space_from_gymnasium(group.action_space)).items()
            }
            for group in vector.groups
        ]
        self.flat = [
            {path: column.reshape(-1, *column.shape[2:]) for path, column in columns.items()}
            for columns in self.columns
        ]
