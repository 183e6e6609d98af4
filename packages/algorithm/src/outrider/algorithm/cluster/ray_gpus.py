"""Counts the GPUs of the cluster that a run would use, before it is known what the run reserves."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from outrider.algorithm.cluster.demand import demand_of
from outrider.envrunner import EnvRunnerSettings
from outrider.learner import LearnerGroupSettings

if TYPE_CHECKING:
    from outrider.algorithm.settings.resource_settings import ResourceSettings


def num_gpus_of_cluster(settings: ResourceSettings, num_gpus_here: int) -> float:
    """Return the number of GPUs; those of this machine, where Ray will be started for the run alone.

    Raises ValueError where the cluster cannot be had.
    """
    from outrider.algorithm.cluster.ray_session import RaySession, check_ray_version

    check_ray_version()
    import ray

    address = settings.ray_address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "local" and not ray.is_initialized():
        return num_gpus_here
    nothing = demand_of(EnvRunnerSettings(), LearnerGroupSettings(), num_learners=0)
    session = RaySession.join(settings, nothing)
    try:
        return float(ray.cluster_resources().get("GPU", 0.0))  # type: ignore[no-untyped-call]
    finally:
        session.leave()
