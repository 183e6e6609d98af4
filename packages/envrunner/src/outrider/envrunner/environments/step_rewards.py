"""Makes an array of the rewards that copies of an environment return in a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.environments.trial_step import require_number


def step_rewards(rewards: Sequence[Any]) -> NDArray[Any]:
    """Return rewards [E]. Raises ValueError for what is no number: of None, NumPy would make nan later."""
    found = np.array(rewards)
    if found.dtype.kind not in "fiub":
        for reward in rewards:
            require_number(reward)
    return found
