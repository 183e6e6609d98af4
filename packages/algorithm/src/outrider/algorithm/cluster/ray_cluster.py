"""What a run has of a Ray cluster, checked and reserved before any of its processes is made.

    with connect(settings.resources, demand) as cluster:
        actor_class.options(**cluster.runner_options(0))

Everything that a run reserves lies in one placement group.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from outrider.algorithm.cluster.demand import CPU, GPU, Bundles, Demand
from outrider.algorithm.cluster.placement import PLACEMENT_GROUP, Node, what_is_missing
from outrider.algorithm.cluster.ray_session import RaySession

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

    from outrider.algorithm.settings.resource_settings import ResourceSettings

LOOK_S = 0.5
"""Seconds between two looks at a cluster that lacks something."""
SAY_S = 5.0
"""Seconds between two lines that say what it lacks."""
JUST_ENDED_S = 1.0
"""Seconds after which a cluster tells of what a run had that has just ended."""
RESERVE_S = 10.0
"""Seconds in which a cluster that has everything reserves it, unless somebody else was faster."""

log = logging.getLogger(__name__)


def connect(settings: ResourceSettings, demand: Demand) -> Cluster:
    """Connect to the cluster that the settings name, or start Ray here, and reserve what is asked for.

    A Ray that this process is connected to already is used as it is, unless another is asked for, and
    inside a trial of Ray Tune the trial's placement group too. Raises ValueError in one sentence where the
    cluster cannot be had or lacks something; nothing is left running then.
    """
    session = RaySession.join(settings, demand)
    from ray.util import get_current_placement_group

    try:
        if session.shares_cores:
            demand = demand.without(CPU)
        if (trial := get_current_placement_group()) is not None:
            _check_holds(trial, demand)
            return Cluster(session, demand, trial, owns_group=False)
        return Cluster(session, demand, _reserve(demand, settings), owns_group=True)
    except BaseException:
        session.leave()
        raise


class Cluster:
    """Where the processes of a run are made. Close it when they have ended."""

    def __init__(
        self, session: RaySession, demand: Demand, group: PlacementGroup | None, *, owns_group: bool
    ) -> None:
        """Made by `connect`. A group of our own has a bundle for each process, runners first."""
        self._session: RaySession | None = session
        self._demand = demand
        self._group = group
        self._owns_group = owns_group

    def runner_options(self, index: int) -> dict[str, Any]:
        """Return what to pass to `options` of an actor class for runner number `index`."""
        return self._options(self._demand.runners, index)

    def learner_options(self, rank: int) -> dict[str, Any]:
        """Return what to pass to `options` of an actor class for this rank of the learners."""
        runners = self._demand.runners
        return self._options(self._demand.learners, rank + (runners.num if runners.resources else 0))

    def _options(self, bundles: Bundles, bundle_index: int) -> dict[str, Any]:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        options: dict[str, Any] = {
            "num_cpus": bundles.amount(CPU),
            "num_gpus": bundles.amount(GPU),
            "resources": {name: each for name, each in bundles.resources.items() if name not in (CPU, GPU)},
            "scheduling_strategy": "DEFAULT",
        }
        if self._group is not None and bundles.resources:
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
                self._group,
                placement_group_bundle_index=bundle_index if self._owns_group else -1,  # -1: any with room
            )
        if bundles.runtime_env:
            options["runtime_env"] = dict(bundles.runtime_env)
        return options

    def close(self) -> None:
        """Give back what was reserved, and end a Ray that was started for the run. May be called twice."""
        session, self._session = self._session, None
        if session is None:
            return
        if self._group is not None and self._owns_group:
            _give_back(self._group)
        session.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_holds(group: PlacementGroup, demand: Demand) -> None:
    """Raise ValueError unless a placement group has room beside the process that calls."""
    import ray

    used = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
    first, *others = group.bundle_specs
    bundles = [{name: amount - used.get(name, 0.0) for name, amount in first.items()}, *others]
    nodes = [Node(total=bundle, available=bundle) for bundle in bundles]
    if missing := what_is_missing(demand, nodes, "PACK", where=PLACEMENT_GROUP):
        raise ValueError(missing)


def _reserve(demand: Demand, settings: ResourceSettings) -> PlacementGroup | None:
    """Make a placement group that is ready. An autoscaler learns from it which nodes are wanted."""
    from ray.util import placement_group

    strategy, wait_s = settings.placement_strategy, settings.wait_for_resources_s
    missing = what_is_missing(demand, _nodes(), strategy)
    if missing and not wait_s:
        time.sleep(JUST_ENDED_S)
        if missing := what_is_missing(demand, _nodes(), strategy):
            raise ValueError(missing)
    bundles = [dict(kind.resources) for kind in demand.groups for _ in range(kind.num)]
    if not bundles:
        return None
    group = placement_group(bundles, strategy=strategy)
    try:
        _wait_for(group, demand, settings, wait_s=wait_s if missing else max(wait_s, RESERVE_S))
    except BaseException:
        _give_back(group)
        raise
    return group  # type: ignore[no-any-return]


def _wait_for(group: PlacementGroup, demand: Demand, settings: ResourceSettings, *, wait_s: float) -> None:
    started = said = time.monotonic()
    while not group.wait(LOOK_S):
        now = time.monotonic()
        if now - said < SAY_S and now - started < wait_s:
            continue
        missing = what_is_missing(demand, _nodes(), settings.placement_strategy)
        missing = (
            missing or "the cluster has what this run reserves and does not give it; others may be faster"
        )
        if now - started >= wait_s:
            raise ValueError(f"{missing} (waited {now - started:.0f} s)")
        said = now
        log.warning("waiting up to %.0f s more: %s", wait_s - (now - started), missing)


def _give_back(group: PlacementGroup) -> None:
    import ray
    from ray.util import remove_placement_group

    with suppress(ray.exceptions.RayError, ConnectionError):  # the cluster is gone, and the group with it
        remove_placement_group(group)


def _nodes() -> list[Node]:
    import ray
    from ray._private.state import available_resources_per_node

    available = available_resources_per_node()  # type: ignore[no-untyped-call]
    return [
        Node(total=node["Resources"], available=available.get(node["NodeID"], {}))
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]
