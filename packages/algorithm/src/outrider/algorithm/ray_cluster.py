"""The Ray cluster of a run: connected to, or started for it, and checked before any process is made.

    with connect(settings.resources, demand) as cluster:
        actor_class.options(**cluster.runner_options(0))

Everything that a run reserves lies in one placement group.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Self

from outrider.algorithm.demand import GPU, Bundles, Demand

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

    from outrider.algorithm.resource_settings import ResourceSettings

log = logging.getLogger(__name__)


def connect(settings: ResourceSettings, demand: Demand) -> Cluster:
    """Connect to the cluster that the settings name, or start Ray here, and reserve what is asked for.

    A Ray that this process is connected to already is used as it is. Raises ValueError in one sentence
    where the cluster cannot be had or lacks something; nothing is left running then.
    """
    import ray

    owns_ray = not ray.is_initialized()
    if owns_ray:
        ray.init(
            address=settings.ray_address or os.environ.get("RAY_ADDRESS") or "local",
            include_dashboard=False,
            log_to_driver=True,
            logging_level=logging.ERROR,
            _system_config={"worker_niceness": 0},
        )
    return Cluster(demand, None, owns_ray=owns_ray)


class Cluster:
    """What a run has of a Ray cluster. Close it when its processes have ended."""

    def __init__(self, demand: Demand, group: PlacementGroup | None, *, owns_ray: bool) -> None:
        """Made by `connect`."""
        self._demand = demand
        self._group = group
        self._owns_ray = owns_ray

    def runner_options(self, index: int) -> dict[str, Any]:
        """Return what to pass to `options` of an actor class for runner number `index`."""
        return self._options(self._demand.runners, index)

    def learner_options(self, rank: int) -> dict[str, Any]:
        """Return what to pass to `options` of an actor class for this rank of the learners."""
        return self._options(self._demand.learners, rank)

    def _options(self, bundles: Bundles, index: int) -> dict[str, Any]:
        return {"num_cpus": 0, "num_gpus": bundles.amount(GPU)}

    def close(self) -> None:
        """Give back what was reserved, and end a Ray that was started for the run. May be called twice."""
        import ray

        if self._owns_ray:
            ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
