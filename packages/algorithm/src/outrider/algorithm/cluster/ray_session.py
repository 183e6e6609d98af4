"""This process's connection to Ray, which all runs in it share. It reserves nothing."""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from outrider.algorithm.cluster.demand import CPU, GPU, Demand
from outrider.algorithm.cluster.placement import MACHINE, Node, what_is_missing
from outrider.algorithm.settings.resource_settings import check_address

if TYPE_CHECKING:
    from outrider.algorithm.settings.resource_settings import ResourceSettings

OLDEST_RAY, FIRST_UNKNOWN_RAY = (2, 50), (3, 0)
"""Releases of Ray that Outrider works with, the second one excluded."""
INSTALL_RAY = (
    "install outrider's extra ray: pip install 'outrider[ray]', or 'packages/outrider[ray]' of a checkout"
)
CONNECT_S = 3.0
"""Seconds in which the port of a head node opens."""
ANSWER_S = 10.0
"""Seconds in which what listens there answers as Ray does, which by itself would wait for minutes."""
HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
"""What a client says first, and settings of which there are none (RFC 9113, 3.4)."""
HTTP2_SETTINGS = 4
"""Type of the frame that a server says first; the fourth byte of its header."""

# A process that dies is told of in one line, by who makes it anew, and not in ten of Ray's beside it.
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed while executing a task")

log = logging.getLogger(__name__)


class RaySession:
    """A connection that lasts as long as somebody uses it; one that was there before is left alone."""

    _ours: ClassVar[RaySession | None] = None
    """The connection that a run has made in this process; later runs join it."""

    def __init__(self, *, shares_cores: bool) -> None:
        """Made by `join`."""
        self.shares_cores = shares_cores
        """Whether Ray was started here for the run alone: as on every desk, processes share its cores."""
        self.num_users = 1
        """Runs that have not left yet."""

    @classmethod
    def join(cls, settings: ResourceSettings, demand: Demand) -> RaySession:
        """Use the connection that there is, or make one. Raises ValueError in one sentence.

        A `ray_address` that is given has to be that of the connection that there is.
        """
        check_ray_version()
        import ray

        if not ray.is_initialized():
            cls._ours = _connected(settings, demand)
            return cls._ours
        if settings.ray_address is not None:
            _check_is_connected_to(settings.ray_address, timeout_s=settings.ray_start_timeout_s)
        if cls._ours is None:
            return cls(shares_cores=False)
        cls._ours.num_users += 1
        return cls._ours

    def leave(self) -> None:
        """Disconnect when nobody is left, and end a Ray that was started here."""
        import ray

        self.num_users -= 1
        if self is RaySession._ours and self.num_users == 0:
            RaySession._ours = None
            ray.shutdown()


def check_ray_version() -> None:
    """Raise ValueError where Ray is not installed, or in a release that Outrider does not work with."""
    try:
        installed = version("ray")
    except PackageNotFoundError:
        raise ValueError(
            "runners and learners in processes of their own need Ray, which is not installed; "
            f"{INSTALL_RAY}, or set num_learners=0 and env_runner_backend='process', which needs gRPC alone"
        ) from None
    if not OLDEST_RAY <= _release(installed) < FIRST_UNKNOWN_RAY:
        raise ValueError(
            f"Ray {installed} is installed, and Outrider works with releases from {_dotted(OLDEST_RAY)} on, "
            f"before {_dotted(FIRST_UNKNOWN_RAY)}; {INSTALL_RAY}"
        )


def _connected(settings: ResourceSettings, demand: Demand) -> RaySession:
    address, source = settings.ray_address, "ray_address"
    if address is None:
        address, source = os.environ.get("RAY_ADDRESS") or "local", "RAY_ADDRESS"
        check_address(address, source=source)
    if address == "local":
        _start(settings, demand)
        return RaySession(shares_cores=True)
    address = _head(address, source)
    _check_same_ray(address, _answer(address, source, timeout_s=settings.ray_start_timeout_s).facts)
    _init(f"Ray at {address} was not joined", address=address)
    return RaySession(shares_cores=False)


def _check_is_connected_to(asked: str, *, timeout_s: float) -> None:
    """Raise ValueError where this process is connected to another cluster than it is asked to use."""
    import ray
    from ray._private.worker import global_worker

    connection: Any = global_worker
    here = ray.get_runtime_context().gcs_address
    if asked == "local":
        is_here = connection.node.is_head()  # this process has started it
    elif is_here := (address := _head(asked, "ray_address")) == here:
        pass  # nearly always, and nobody need be asked
    else:  # it may be another name of the same machine
        answer = _answer(address, "ray_address", timeout_s=timeout_s)
        is_here = answer.cluster == connection.gcs_client.cluster_id
    if not is_here:
        raise ValueError(
            f"ray_address={asked!r} is not the cluster that this process is connected to, which is {here}, "
            "and a process has one; leave ray_address out to run there, or disconnect before: stop the "
            "algorithms that use it, and call ray.shutdown() if ray.init() was"
        )


def _start(settings: ResourceSettings, demand: Demand) -> None:
    """Start Ray on this machine, where its processes end with this one."""
    import torch

    num_cores, num_gpus = len(os.sched_getaffinity(0)), torch.cuda.device_count()
    asked = demand.total(CPU)
    has = {CPU: max(asked, num_cores), GPU: num_gpus}
    missing = what_is_missing(
        demand, [Node(total=has, available=has)], settings.placement_strategy, where=MACHINE
    )
    if missing:
        raise ValueError(missing)
    if asked > num_cores:
        _say_once(f"{demand.num_processes} processes share the {num_cores} cores of this machine")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _init(
        "Ray did not start on this machine",
        address="local",
        num_cpus=max(1, demand.num_processes),  # Ray starts a worker for each, and they are taken at once
        num_gpus=num_gpus,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",  # a laptop's own address changes
        _system_config={"worker_niceness": 0},  # 15 otherwise: the driver would starve them
    )


@lru_cache
def _say_once(sentence: str) -> None:
    """Warn, unless a run before in this process has."""
    log.warning(sentence)


def _init(what_failed: str, **options: Any) -> None:  # noqa: ANN401 - Ray's
    import ray

    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # also a bare one, where a node of its own does not come up in 30 s
        ray.shutdown()
        raise ValueError(f"{what_failed}: {' '.join(str(error).split())}") from error


def _head(address: str, source: str) -> str:
    """Return host:port of the head node."""
    from ray._private.services import canonicalize_bootstrap_address

    if address != "auto":
        return address
    try:
        found = canonicalize_bootstrap_address(address)
    except ConnectionError:
        found = None
    if not found:
        raise ValueError(
            f"{source}='auto' finds no Ray on this machine; start one with `ray start --head`, or leave "
            f"{source} away and one is started for the run"
        )
    return str(found)


class _Answer(NamedTuple):
    """What a head node says of itself."""

    facts: bytes | None
    """Which Ray it runs, as JSON."""
    cluster: object
    """An id, the same whatever name the node was asked by."""


def _answer(address: str, source: str, *, timeout_s: float) -> _Answer:
    """Ask a head node who it is. Raises ValueError where nobody answers, or not as Ray does."""
    host, _, port = address.rpartition(":")
    timeout_s = min(ANSWER_S, timeout_s)
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), min(CONNECT_S, timeout_s))
    except OSError as error:
        raise ValueError(
            f"nobody answers at {source}={address!r} ({error}); is `ray start --head` running there, and "
            "does no firewall stand between?"
        ) from None
    answers: list[_Answer] = []
    if _may_be_grpc(connection, timeout_s):
        asking = threading.Thread(target=_ask, args=(address, answers), daemon=True)
        asking.start()
        asking.join(timeout_s)
    if not answers:
        raise ValueError(
            f"what listens at {source}={address!r} does not answer as the head node of Ray does; give "
            "host:port as `ray start --head` prints it, usually port 6379"
        )
    return answers[0]


def _may_be_grpc(connection: socket.socket, timeout_s: float) -> bool:
    """Return whether who listens answers a greeting; Ray's client, which cannot be stopped, complains later.

    One that closes may speak TLS.
    """
    with connection:
        connection.settimeout(timeout_s)
        try:
            connection.sendall(HTTP2_GREETING)
            answer = connection.recv(9)
        except TimeoutError:
            return False
        except ConnectionError:
            return True
    return len(answer) < 4 or answer[3] == HTTP2_SETTINGS


def _ask(address: str, answers: list[_Answer]) -> None:
    """Ask in a thread of its own: Ray waits far longer than it is told to."""
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # compiled

    with suppress(ray.exceptions.RayError):
        client = GcsClient(address=address)
        facts = client.internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster")
        answers.append(_Answer(facts, client.cluster_id))


def _check_same_ray(address: str, facts: bytes | None) -> None:
    """Raise ValueError for a cluster of another release."""
    import json

    theirs = json.loads(facts)["ray_version"] if facts else version("ray")
    if theirs != version("ray"):
        raise ValueError(
            f"the cluster at {address} runs Ray {theirs} and this process Ray {version('ray')}, and Ray "
            f"joins only its own release; pip install ray=={theirs}"
        )


def _release(version_text: str) -> tuple[int, int]:
    major, minor, *_ = version_text.split(".")
    return int(major), int(minor)


def _dotted(release: tuple[int, int]) -> str:
    return ".".join(map(str, release))
