"""What really followed the last step of an episode, in Gymnasium's three autoreset modes.

SAME_STEP  the step that ends an episode already returns the next one's first observation; the one
that really followed stands in infos["final_obs"]
NEXT_STEP  it returns what really followed; the next step ignores the action, resets, and is no
transition
DISABLED   it returns what really followed, and the caller resets with a mask
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from outrider.envrunner.environments.spaces import ColumnReader
from outrider.wire import Columns


def autoreset_mode(vector: gym.vector.VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """Read a vector environment's mode. Raises ValueError where it does not say."""
    mode = vector.metadata.get("autoreset_mode")
    if isinstance(mode, AutoresetMode):
        return mode
    allowed = ", ".join(f"AutoresetMode.{each.name}" for each in AutoresetMode)
    raise ValueError(
        f"the vector environment {vector} has metadata['autoreset_mode'] = {mode!r}; it must be one of "
        f"{allowed}, or its reset rows would be taken for transitions"
    )


def final_observations(infos: dict[str, Any], environments: NDArray[np.intp], read: ColumnReader) -> Columns:
    """Read what ended the episodes of some copies in SAME_STEP mode: [len(environments), ...]."""
    final = infos.get("final_obs")
    if final is None:
        raise ValueError(
            "an episode was truncated in a SAME_STEP vector environment without infos['final_obs']; add it "
            "there, because the value of the observation that really followed is needed"
        )
    if isinstance(final, np.ndarray) and final.dtype == np.object_:
        each = [read(final[index]) for index in environments]
        return {path: np.stack([columns[path] for columns in each]) for path in each[0]}
    return {path: column[environments] for path, column in read(final).items()}
