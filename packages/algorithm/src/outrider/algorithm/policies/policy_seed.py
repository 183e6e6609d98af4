"""The seed that a policy starts from."""

from __future__ import annotations

import numpy as np

OF_POLICIES = 5
"""Tells these seeds from those of environments and runners, which derive from the same one."""


def policy_seed(seed: int, number: int) -> int:
    """Return the seed of policy `number` of a run: it starts the same whatever other policies there are."""
    sequence = np.random.SeedSequence(seed, spawn_key=(OF_POLICIES, number))
    return int(sequence.generate_state(1, np.uint32)[0])
