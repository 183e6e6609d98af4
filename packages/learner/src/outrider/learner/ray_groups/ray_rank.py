"""A learner rank in a process of Ray's: the far side of `outrider.learner.ray_groups.ray_learners`.

    driver                                                  actor
    call("greet", hello) -------------------------------->  {"welcome": bytes}
    call("meet", timeout_s) ----------------------------->  {"host", "port"} where rank 0 awaits the others
    call("join", plan, rank, num_ranks, host, port, run) >  {}             once all have joined
    call("join_policies", the same, plan of policies) --->  {}             of ranks that share their rows
    call("join_apart", the same, plan of policies) ------>  {}             of ranks that sum nothing
    call("set_state", state of all, what differs here) -->  {}
    call("get_state", digests of rank 0, or None) ------->  {"state", "digests"}
    call("fetch", fragment) ----------------------------->  {}             an error where it is lost

    of ranks with several policies:
    call("policies") ------------------------------------>  {"numbers", "frozen", "diverged", "metrics"}
    call("policy_state", number) ------------------------>  {"state"}
    call("add_policy", plan, state or None) ------------->  {}
    call("remove_policy", number) ----------------------->  {}
    call("freeze", numbers), call("thaw", numbers) ------>  {}
    call("count_change") -------------------------------->  {}             of another rank's policy

    A rank that trains by itself does these after all that was put, and answers "count_change" before.

    of all:

    call_with_weights("publish") ------------------------>  {"version"}, weights
    call_with_weights("join_weights", *weights) --------->  {"version"}, weights of all policies

    of a group that is waited for:
    call_with_weights("update", shards, *fragments) ----->  {"metrics", "version"}, weights

    of a group that trains by itself:
    call_with_weights("begin", num_updates_between_snapshots)
                                                        ->  {"version"}, weights
    call("put", shards, staleness, *fragments) ---------->  {}             before they are trained on
    call("state_after_all", digests or None, timeout_s) ->  as get_state, after all that was put
    report(timeout_s) ----------------------------------->  {"num_updates", ...}, weights of rank 0

Shards are lists of (argument number, first stream, stop stream); fragments are arguments of the call, so
that Ray has fetched them when it begins. Of ranks that share rows, rank 0 alone answers with weights and
metrics. What went wrong is answered as {"error": kind, "text": sentence,
"traceback": text}. Only plain values, arrays, bytes and buffers cross: the two sides may be of different
releases, and this drawing is a contract as the protos are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import cloudpickle
import ray
import torch
from torch import distributed
from torch._C._distributed_c10d import TCPStore
from torch.distributed.device_mesh import init_device_mesh

from outrider.learner.groups.dealt_calls import Answer
from outrider.learner.groups.introduction import introduction
from outrider.learner.groups.learner_loop import LearnerLoop
from outrider.learner.groups.mesh_ranks import MeshRanks
from outrider.learner.groups.rank_error import error_message
from outrider.learner.groups.rank_policies import RankPolicies
from outrider.learner.plans.device import choose_device
from outrider.learner.plans.learner_plan import LearnerPlan
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.learner.plans.rank_state import digests, own_part
from outrider.learner.ranks import ApartRank, OneRank, Ranks
from outrider.learner.ray_groups.ray_learner_metrics import LearnerMetrics
from outrider.transport import LocalFragment
from outrider.transport.ray_references import Message, read_fragment, read_weights, to_message
from outrider.wire import (
    Fragment,
    all_parts,
    answer_hello,
    decode_hello,
    encode_weights,
    encode_welcome,
)

if TYPE_CHECKING:
    from outrider.learner.learner import Learner, StateTree
    from outrider.learner.plans.group_settings import LearnerGroupSettings
    from outrider.learner.plans.sharing import Sharing

REPORTS_GROUP = "reports"
"""Calls of `report` have a thread of their own and do not wait for an update."""
Shards: TypeAlias = Sequence[tuple[int, int, int]]


_WithWeights: TypeAlias = tuple[Answer, Message | None]
_Published: TypeAlias = "tuple[int, Message | None, StateTree | None]"
"""Version, weights, snapshot."""
_Call = TypeVar("_Call", bound=Callable[..., Any])


class RankActor:
    """What Ray calls. It never changes.

    Ray hands each method of the driver's release on by its name, and makes no actor where one of them is
    missing in the learner's release. So there are exactly these, and new calls are new words for the first
    two.
    """

    def __init__(self) -> None:
        self._rank = RankProcess()

    def call(self, name: str, *arguments: Any) -> Answer:  # noqa: ANN401 - plain values
        return self._rank.call(name, *arguments)

    @ray.method(num_returns=2)
    def call_with_weights(self, name: str, *arguments: Any) -> _WithWeights:  # noqa: ANN401 - plain values
        return self._rank.call_with_weights(name, *arguments)

    @ray.method(num_returns=2, concurrency_group=REPORTS_GROUP)
    def report(self, timeout_s: float) -> _WithWeights:
        return self._rank.call_with_weights("report", timeout_s)


class RankProcess:
    """One learner of a group; each public method but the calls is a word of the drawing above."""

    def __init__(self) -> None:
        self._learner: Learner
        self._ranks: Ranks
        self._sharing: Sharing
        self._metrics: LearnerMetrics
        self._store: Any = None
        self._policy_calls: Mapping[str, Callable[..., Answer]] = {}
        self._loop: LearnerLoop[_Published] | None = None
        self._every = 0
        self._timeout_s = 0.0
        self._snapshot_version = 0
        self._staleness = 0

    def call(self, name: str, *arguments: Any) -> Answer:  # noqa: ANN401 - plain values
        """Answer a call, also one that goes wrong."""
        calls: dict[str, Callable[..., Answer]] = {
            "greet": self.greet,
            "meet": self.meet,
            "join": self.join,
            "join_policies": self.join_policies,
            "join_apart": self.join_apart,
            "set_state": self.set_state,
            "get_state": self.get_state,
            "fetch": self.fetch,
            "put": self.put,
            "state_after_all": self.state_after_all,
            **self._policy_calls,
        }
        try:
            call = _known(calls, name)
            if name in self._policy_calls and self._loop is not None:
                return self._between_updates(partial(call, *arguments), waits=name != "count_change")
            return call(*arguments)
        except Exception as error:  # noqa: BLE001 - told to the driver
            return error_message(error)

    def call_with_weights(self, name: str, *arguments: Any) -> _WithWeights:  # noqa: ANN401 - plain values
        """Answer a call that weights come with; one that goes wrong without them."""
        calls: dict[str, Callable[..., _WithWeights]] = {
            "update": self.update,
            "publish": self.publish,
            "join_weights": self.join_weights,
            "begin": self.begin,
            "report": self.report,
        }
        try:
            return _known(calls, name)(*arguments)
        except Exception as error:  # noqa: BLE001 - told to the driver
            return error_message(error), None

    def greet(self, hello: bytes) -> Answer:
        welcome = answer_hello(decode_hello(hello), introduction("a learner on Ray"))
        return {"welcome": encode_welcome(welcome)}

    def meet(self, timeout_s: float) -> Answer:
        """Open the place where the ranks find each other, on a port that the system chooses."""
        host = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
        timeout = timedelta(seconds=timeout_s)
        self._store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timeout)
        return {"host": host, "port": self._store.port}

    def join(
        self, plan: Mapping[str, Any], rank: int, num_ranks: int, host: str, port: int, run: str
    ) -> Answer:
        """Make the learner and wait until all ranks have."""
        read = LearnerPlan.from_message(plan, load=cloudpickle.loads)
        ranks = _join_ranks(read.settings, rank, num_ranks, host, port)
        return self._begin(read.make_learner(ranks, choose_device(read.settings)), ranks, read, run)

    def join_policies(
        self, plan: Mapping[str, Any], rank: int, num_ranks: int, host: str, port: int, run: str
    ) -> Answer:
        """Make the learner of all policies, and wait until all ranks have that share their rows."""
        read = MultiAgentPlan.from_message(plan, load=cloudpickle.loads)
        ranks = _join_ranks(read.settings, rank, num_ranks, host, port)
        return self._begin_policies(read, ranks, run)

    def join_apart(
        self, plan: Mapping[str, Any], rank: int, num_ranks: int, host: str, port: int, run: str
    ) -> Answer:
        """Make the learner of this rank's own policies, which needs none of the others."""
        read = MultiAgentPlan.from_message(plan, load=cloudpickle.loads)
        return self._begin_policies(read, ApartRank(rank, num_ranks), run)

    def set_state(self, common: StateTree, own: StateTree) -> Answer:
        self._learner.set_state({**common, **own})
        return {}

    def get_state(self, of_rank_0: Mapping[str, str] | None) -> Answer:
        """Return the state; of another rank only the entries whose digests are not those of rank 0."""
        return self._state_answer(self._learner.get_state(), of_rank_0)

    def fetch(self, fragment: Message) -> Answer:
        """Do nothing; Ray has fetched the fragment."""
        return {}

    def update(self, shards: Shards, *fragments: Message) -> _WithWeights:
        """Train once, together with all ranks."""
        shard = self._take(shards, fragments)
        metrics = self._learner.update(shard)
        self._metrics.record(1, sum(part.num_rows for fragment in shard for part in all_parts(fragment)))
        if not self._is_holder:
            return {}, None
        answer, weights = self._publish()
        return {"metrics": metrics} | answer, weights

    def publish(self) -> _WithWeights:
        if self._loop is None:
            return self._publish()
        return self._loop.between_updates(self._publish, self._timeout_s)

    def join_weights(self, *weights: Message) -> _WithWeights:
        joined = self._sharing.join_weights([read_weights(part) for part in weights])
        return {"version": joined.version}, to_message(encode_weights(joined, checksum=False))

    def begin(self, num_updates_between_snapshots: int) -> _WithWeights:
        """Train from now on without being asked."""
        self._every = num_updates_between_snapshots
        published = self._publish()
        self._snapshot_version = published[0]["version"]
        self._loop = LearnerLoop(self._learner, publish=self._publish_between_updates)
        return published

    def put(self, shards: Shards, staleness: int, *fragments: Message) -> Answer:
        """Let the shards of one update queue up, the oldest of which is `staleness` versions old."""
        self._running().put([LocalFragment(fragment) for fragment in self._take(shards, fragments)])
        self._staleness = staleness
        return {}

    def state_after_all(self, of_rank_0: Mapping[str, str] | None, timeout_s: float) -> Answer:
        state = self._running().between_updates(self._learner.get_state, timeout_s)
        return self._state_answer(state, of_rank_0)

    def report(self, timeout_s: float) -> _WithWeights:
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

    def _between_updates(self, call: Callable[[], Answer], *, waits: bool) -> Answer:
        """Make a call in the thread that trains; what goes wrong must not end that."""
        loop = self._running()
        if not waits:
            loop.post(call)
            return {}

        def answer() -> Answer:
            try:
                return call()
            except Exception as error:  # noqa: BLE001 - told to the driver
                return error_message(error)

        return loop.between_updates(answer, self._timeout_s)

    def _publish(self) -> tuple[Answer, Message]:
        weights = self._learner.publish()
        return {"version": weights.version}, to_message(encode_weights(weights, checksum=False))

    def _publish_between_updates(self) -> _Published:
        """Return weights, and a snapshot where it is time for one; of no holder neither."""
        if not self._is_holder:
            return 0, None, None
        answer, weights = self._publish()
        snapshot = None
        if answer["version"] - self._snapshot_version >= self._every:
            snapshot = self._learner.get_state()
            self._snapshot_version = answer["version"]
        return answer["version"], weights, snapshot

    @property
    def _is_holder(self) -> bool:
        return self._ranks.rank in self._sharing.holders(self._ranks.size)

    def _take(self, shards: Shards, fragments: Sequence[Message]) -> list[Fragment]:
        rank, size = self._ranks.rank, self._ranks.size
        return [
            self._sharing.take(read_fragment(fragments[number]), first, stop, rank=rank, num_ranks=size)
            for number, first, stop in shards
        ]

    def _state_answer(self, state: StateTree, of_rank_0: Mapping[str, str] | None) -> Answer:
        if of_rank_0 is not None:
            return {"state": own_part(state, of_rank_0)}
        others = self._ranks.size - len(self._sharing.holders(self._ranks.size))
        return {"state": state, "digests": digests(state) if others else {}}

    def _begin_policies(self, plan: MultiAgentPlan, ranks: Ranks, run: str) -> Answer:
        device = choose_device(plan.settings)
        learner = plan.make_learner(ranks, device)
        shared = ranks if plan.shares_rows else None
        read = partial(StackPlan.from_message, algorithm=plan.algorithm, load=cloudpickle.loads)
        policies = RankPolicies(learner, plan, device=device, ranks=shared, read=read)
        self._policy_calls = policies.calls
        return self._begin(learner, ranks, plan, run)

    def _begin(self, learner: Learner, ranks: Ranks, plan: LearnerPlan | MultiAgentPlan, run: str) -> Answer:
        torch.set_num_threads(max(1, int(plan.settings.num_cpus_per_learner)))
        self._learner, self._ranks, self._sharing = learner, ranks, plan.sharing
        self._timeout_s = plan.settings.learner_timeout_s
        self._metrics = LearnerMetrics(run, ranks.rank)
        return {}

    def _running(self) -> LearnerLoop[_Published]:
        assert self._loop is not None, "begin comes first"
        return self._loop


def _known(calls: Mapping[str, _Call], name: str) -> _Call:
    if name not in calls:
        raise ValueError(f"{introduction('a learner on Ray').component} knows no call {name!r}; upgrade it")
    return calls[name]


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
