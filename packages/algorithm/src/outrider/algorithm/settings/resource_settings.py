"""Which Ray cluster a run uses, and how its processes are placed there. Free of Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

PlacementStrategy: TypeAlias = Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceSettings:
    """Where runners and learners in processes of their own are started. Ignored where there are none."""

    ray_address: str | None = None
    """Cluster to connect to, as host:port of its head node, or "auto" for the one on this machine. None:
    what the environment variable RAY_ADDRESS says, as it does inside `ray job submit`; without it, a Ray
    is started on this machine for the run alone. "local" starts one in any case."""
    wait_for_resources_s: float = 0.0
    """Seconds to wait for resources that the cluster lacks, because an autoscaler brings nodes or another
    run ends. 0: what is missing is an error at once. Range [0, 1e6]."""
    placement_strategy: PlacementStrategy = "PACK"
    """PACK puts processes on few nodes, SPREAD on many; STRICT_PACK on exactly one, STRICT_SPREAD each on
    a node of its own, or the run does not start."""
    ray_start_timeout_s: float = 60.0
    """Seconds within which a cluster at an address answers; 10 at most, whatever stands here. A Ray that is
    started on this machine ends its own wait after 30 s. Range (0, 1e6]."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.ray_address is not None:
            check_address(self.ray_address, source="ray_address")
        if self.placement_strategy not in get_args(PlacementStrategy):
            allowed = ", ".join(map(repr, get_args(PlacementStrategy)))
            raise ValueError(f"placement_strategy is {self.placement_strategy!r}; allowed are {allowed}")
        if not 0 <= self.wait_for_resources_s <= 1e6:
            raise ValueError(
                f"wait_for_resources_s is {self.wait_for_resources_s!r}; it must be a number of seconds from "
                "0 to 1e6"
            )
        if not 0 < self.ray_start_timeout_s <= 1e6:
            raise ValueError(
                f"ray_start_timeout_s is {self.ray_start_timeout_s!r}; it must be a number of seconds above "
                "0 and not above 1e6"
            )


def check_address(address: str, *, source: str) -> None:
    """Raise ValueError for what can be no address; `source` is the setting that it stands in."""
    if address in ("auto", "local"):
        return
    if address.startswith("ray://"):
        raise ValueError(
            f"{source}={address!r} is an address of Ray Client, which has no part in training; give "
            "host:port of the head node, as `ray start --head` prints it, or use `ray job submit`"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"{source}={address!r} is no address; give host:port of the head node, 'auto' or 'local'"
        )
