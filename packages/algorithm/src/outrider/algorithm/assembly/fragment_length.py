"""How many steps each environment copy takes for one fragment, and whether that fits the training batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider.envrunner import EnvRunnerSettings

MIN_ASYNCHRONOUS_STEPS = 32
"""Shorter fragments make V-trace look less far ahead, and cost more to send than to sample."""


def fragment_length(
    runners: EnvRunnerSettings, *, batch_size_per_learner: int, num_learners: int, is_asynchronous: bool
) -> int:
    """Return the steps of each environment copy in one fragment. Raises ValueError where they do not fit.

    `rollout_fragment_length="auto"` divides the training batch of all learners by the number of copies
    of all runners and rounds up, so that an update has the batch's rows, or less than one vector step
    more. Asynchronous fragments are not made shorter than 32 steps for that, unless one fragment were
    more than the batch.
    """
    batch_size = batch_size_per_learner * max(1, num_learners)
    num_copies = runners.num_envs_per_env_runner * max(1, runners.num_env_runners)
    length = runners.rollout_fragment_length
    automatic = math.ceil(batch_size / num_copies)
    if length == "auto":
        if not is_asynchronous:
            return automatic
        largest = max(1, batch_size // runners.num_envs_per_env_runner)
        return min(max(automatic, MIN_ASYNCHRONOUS_STEPS), largest)
    if is_asynchronous:
        _check_one_fragment(runners.num_envs_per_env_runner, length, batch_size)
    elif length != automatic:
        raise ValueError(
            f"rollout_fragment_length={length} does not fit: an iteration of {num_copies} environments has "
            f"{length * num_copies} rows, and a training batch of {batch_size} was asked for; give "
            f'{automatic} or "auto", or another train_batch_size_per_learner'
        )
    return length


def _check_one_fragment(num_envs: int, length: int, batch_size: int) -> None:
    if length * num_envs > batch_size:
        raise ValueError(
            f"rollout_fragment_length={length} does not fit: {num_envs} environments make fragments of "
            f"{length * num_envs} rows, and an update has {batch_size}; give at most "
            f"{max(1, batch_size // num_envs)}, fewer environments or another train_batch_size_per_learner"
        )
