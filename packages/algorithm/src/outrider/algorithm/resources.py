"""Checks that what a configuration asks for is here, before anything starts."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider.algorithm.run_settings import RunSettings


def check_resources(settings: RunSettings) -> None:
    """Raise ValueError in one sentence: what was asked for, what there is, what to do."""
    runners, learners = settings.env_runners, settings.learners
    if runners.num_env_runners > 0:
        raise ValueError(
            f"num_env_runners={runners.num_env_runners} needs runners in other processes, which this release "
            "does not start; set num_env_runners=0 to sample in this process"
        )
    if learners.num_learners > 0:
        raise ValueError(
            f"num_learners={learners.num_learners} needs learners in other processes, which this release "
            "does not start; set num_learners=0 to learn in this process"
        )
    if runners.num_cpus_per_env_runner != 1:
        warnings.warn(
            f"num_cpus_per_env_runner={runners.num_cpus_per_env_runner:g} is ignored with num_env_runners=0: "
            "there is no other process to reserve cores for",
            stacklevel=3,
        )
    if runners.num_gpus_per_env_runner > 0:
        raise ValueError(
            f"num_gpus_per_env_runner={runners.num_gpus_per_env_runner:g} reserves GPUs for runners in other "
            "processes, which this release does not start; set num_gpus_per_env_runner=0"
        )
