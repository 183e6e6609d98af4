"""A learner rank in a process of Ray's: the far side of `outrider.learner.ray_learners`.

    driver                                              actor
    greet(hello) ------------------------------------>  welcome, or a refusal
    meet(timeout_s) --------------------------------->  {"host", "port"} where rank 0 awaits the others
    join(plan, rank, num_ranks, host, port, run) ---->  {}                 once all have joined
    set_state(state of all, what differs here) ------>  {}
    get_state(digests of rank 0, or None) ----------->  {"state", "digests"}

    fetch(fragment) --------------------------------->  {}                 an error where it is lost

    of a group that is waited for:
    update(shards, *fragments) ---------------------->  {"metrics", "version"}, weights of rank 0
    publish() --------------------------------------->  {"version"}, weights

    of a group that trains by itself:
    begin(num_updates_between_snapshots) ------------>  {"version"}, weights
    put(shards, staleness, *fragments) -------------->  {}                 before they are trained on
    state_after_all(digests or None, timeout_s) ----->  as get_state, after all that was put
    report(timeout_s) ------------------------------->  {"num_updates", ...}, weights of rank 0

Shards are lists of (argument number, first stream, stop stream); fragments are arguments of the call, so
that Ray has fetched them when it begins. What went wrong is answered as {"error": kind, "text": sentence,
"traceback": text}. Nothing but plain values, arrays, bytes and buffers crosses, and Ray pickles the class
by its name: the two sides may be of different releases. So this drawing is a contract as the protos are: a
name or an argument in it never changes.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias

import cloudpickle
import ray
import torch
from torch import distributed
from torch._C._distributed_c10d import TCPStore
from torch.distributed.device_mesh import init_device_mesh

from outrider.learner.device import choose_device
from outrider.learner.learner_loop import LearnerLoop
from outrider.learner.learner_plan import LearnerPlan
from outrider.learner.mesh_ranks import MeshRanks
from outrider.learner.rank_error import error_message
from outrider.learner.rank_state import digests, own_part
from outrider.learner.ranks import OneRank, Ranks
from outrider.learner.ray_learner_metrics import LearnerMetrics
from outrider.transport import LocalFragment
from outrider.transport.ray_references import Message, read_fragment, to_message
from outrider.wire import (
    Fragment,
    Hello,
    answer_hello,
    decode_hello,
    encode_weights,
    encode_welcome,
    take_streams,
)

if TYPE_CHECKING:
    from outrider.learner.learner import Learner, StateTree
    from outrider.learner.learner_group import LearnerGroupSettings

REPORTS_GROUP = "reports"
"""Calls of `report` have a thread of their own and do not wait for an update."""
CALLS: Mapping[str, Mapping[str, Any]] = {
    "update": {"num_returns": 2},
    "publish": {"num_returns": 2},
    "begin": {"num_returns": 2},
    "report": {"num_returns": 2, "concurrency_group": REPORTS_GROUP},
}
"""Ray's options of the methods that answer with weights beside."""
Answer: TypeAlias = dict[str, Any]
Shards: TypeAlias = Sequence[tuple[int, int, int]]
P = ParamSpec("P")


def introduction(who: str) -> Hello:
    """Say who speaks, with the versions of the packages that the two sides share."""
    names = ("outrider-learner", "outrider-rlmodule", "outrider-transport", "outrider-wire")
    versions = {name: importlib.metadata.version(name) for name in names}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Hello(component=f"{who} ({listed})", versions=versions)


def _telling(
    method: Callable[Concatenate[RankActor, P], Answer],
) -> Callable[Concatenate[RankActor, P], Answer]:
    """Answer with what a method raised."""

    @functools.wraps(method)
    def told(self: RankActor, /, *args: P.args, **kwargs: P.kwargs) -> Answer:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - told to the driver
            return error_message(error)

    return told


_WithWeights: TypeAlias = tuple[Answer, Message | None]
_Published: TypeAlias = "tuple[int, Message | None, StateTree | None]"
"""Version, weights, snapshot."""


def _telling_with_weights(
    method: Callable[Concatenate[RankActor, P], _WithWeights],
) -> Callable[Concatenate[RankActor, P], _WithWeights]:
    """Answer with what a method raised, and without weights."""

    @functools.wraps(method)
    def told(self: RankActor, /, *args: P.args, **kwargs: P.kwargs) -> _WithWeights:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - told to the driver
            return error_message(error), None

    return told


class RankActor:
    """One learner of a group; each method is a call of the drawing above."""

    def __init__(self) -> None:
        self._learner: Learner
        self._ranks: Ranks
        self._metrics: LearnerMetrics
        self._store: Any = None
        self._loop: LearnerLoop[_Published] | None = None
        self._every = 0
        self._snapshot_version = 0
        self._staleness = 0

    def greet(self, hello: bytes) -> bytes:
        return encode_welcome(answer_hello(decode_hello(hello), introduction("a learner on Ray")))

    @_telling
    def meet(self, timeout_s: float) -> Answer:
        """Open the place where the ranks find each other, on a port that the system chooses."""
        host = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
        timeout = timedelta(seconds=timeout_s)
        self._store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timeout)
        return {"host": host, "port": self._store.port}

    @_telling
    def join(
        self, plan: Mapping[str, Any], rank: int, num_ranks: int, host: str, port: int, run: str
    ) -> Answer:
        """Make the learner and wait until all ranks have."""
        read = LearnerPlan.from_message(plan, load=cloudpickle.loads)
        torch.set_num_threads(max(1, int(read.settings.num_cpus_per_learner)))
        self._ranks = _join_ranks(read.settings, rank, num_ranks, host, port)
        self._learner = read.make_learner(self._ranks, choose_device(read.settings))
        self._metrics = LearnerMetrics(run, rank)
        return {}

    @_telling
    def set_state(self, common: StateTree, own: StateTree) -> Answer:
        self._learner.set_state({**common, **own})
        return {}

    @_telling
    def get_state(self, of_rank_0: Mapping[str, str] | None) -> Answer:
        """Return the state; of another rank only the entries whose digests are not those of rank 0."""
        return _state_answer(self._learner.get_state(), of_rank_0)

    def fetch(self, fragment: Message) -> Answer:
        """Do nothing; Ray has fetched the fragment."""
        return {}

    @_telling_with_weights
    def update(self, shards: Shards, *fragments: Message) -> tuple[Answer, Message | None]:
        """Train once, together with all ranks."""
        shard = _take(shards, fragments)
        metrics = self._learner.update(shard)
        self._metrics.record(1, sum(fragment.num_rows for fragment in shard))
        if self._ranks.rank:
            return {}, None
        answer, weights = self._publish()
        return {"metrics": metrics} | answer, weights

    @_telling_with_weights
    def publish(self) -> tuple[Answer, Message | None]:
        return self._publish()

    @_telling_with_weights
    def begin(self, num_updates_between_snapshots: int) -> tuple[Answer, Message | None]:
        """Train from now on without being asked."""
        self._every = num_updates_between_snapshots
        published = self._publish()
        self._snapshot_version = published[0]["version"]
        self._loop = LearnerLoop(self._learner, publish=self._publish_between_updates)
        return published

    @_telling
    def put(self, shards: Shards, staleness: int, *fragments: Message) -> Answer:
        """Let the shards of one update queue up, the oldest of which is `staleness` versions old."""
        self._running().put([LocalFragment(fragment) for fragment in _take(shards, fragments)])
        self._staleness = staleness
        return {}

    @_telling
    def state_after_all(self, of_rank_0: Mapping[str, str] | None, timeout_s: float) -> Answer:
        state = self._running().between_updates(self._learner.get_state, timeout_s)
        return _state_answer(state, of_rank_0)

    @_telling_with_weights
    def report(self, timeout_s: float) -> tuple[Answer, Message | None]:
        """Return what was learned since the last call, and wait for the first update to end."""
        loop = self._running()
        report = loop.report(timeout_s)
        if report is None:
            return {"num_updates": 0, "num_begun": loop.num_begun}, None
        self._metrics.record(
            report.num_updates,
            report.num_rows,
            queue_depth=report.queue_depth,
            staleness=self._staleness,
        )
        version, message, snapshot = report.weights
        answer = {
            "num_updates": report.num_updates,
            "num_begun": loop.num_begun,
            "metrics": dict(report.metrics),
            "work_s": report.work_s,
            "wait_s": report.wait_s,
            "queue_depth": report.queue_depth,
            "version": version,
            "snapshot": snapshot,
        }
        return answer, message

    def _publish(self) -> tuple[Answer, Message]:
        weights = self._learner.publish()
        return {"version": weights.version}, to_message(encode_weights(weights, checksum=False))

    def _publish_between_updates(self) -> _Published:
        """Return weights, and a snapshot where it is time for one; of other ranks than 0 neither."""
        if self._ranks.rank:
            return 0, None, None
        answer, weights = self._publish()
        snapshot = None
        if answer["version"] - self._snapshot_version >= self._every:
            snapshot = self._learner.get_state()
            self._snapshot_version = answer["version"]
        return answer["version"], weights, snapshot

    def _running(self) -> LearnerLoop[_Published]:
        assert self._loop is not None, "begin comes first"
        return self._loop


def _join_ranks(settings: LearnerGroupSettings, rank: int, num_ranks: int, host: str, port: int) -> Ranks:
    """Find the other ranks in one torch.distributed group, as the mesh's axis that shares out rows."""
    if num_ranks == 1:
        return OneRank()
    timeout = timedelta(seconds=settings.learner_timeout_s)
    store = TCPStore(
        host, port, timeout=timedelta(seconds=settings.learner_start_timeout_s), wait_for_workers=False
    )
    # NCCL refuses two ranks on one GPU; gloo copies over the CPU and takes them.
    backend = "nccl" if settings.num_gpus_per_learner >= 1 else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=num_ranks, timeout=timeout)
    device = "cuda" if settings.num_gpus_per_learner else "cpu"
    mesh = init_device_mesh(device, (num_ranks,), mesh_dim_names=("data",))
    return MeshRanks(mesh)


def _take(shards: Shards, fragments: Sequence[Message]) -> list[Fragment]:
    return [take_streams(read_fragment(fragments[number]), first, stop) for number, first, stop in shards]


def _state_answer(state: StateTree, of_rank_0: Mapping[str, str] | None) -> Answer:
    if of_rank_0 is None:
        return {"state": state, "digests": digests(state)}
    return {"state": own_part(state, of_rank_0)}
