"""Learner groups whose ranks are Ray actors: the driver's side of `outrider.learner.ray_rank`.

    driver                     ranks                       object store
    put, update: references -> each pulls its shard <----- fragments
    report, answer          <- weights of rank 0 --------> weights, once per node that reads them

The driver reads no fragment and no weights; of a snapshot it keeps a copy in its own memory, so that the
group can be made anew when a rank dies.

Why ranks that train by themselves never wait for each other in vain: the driver cuts what comes in into
portions, one for each update, and deals every portion's streams to all ranks at once, in the same order.
How old its fragments will be is decided there, too. A rank throws nothing away and chooses nothing, so that
each takes the same updates; it enters a sum only with its shard in hand, and the others have theirs or are
about to. While runners are slow no rank is inside a sum, and no deadline runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import ray

from outrider.learner.async_group import check_room, staleness_of
from outrider.learner.group import LearnerGroupStatistics, UpdateReport
from outrider.learner.learner import StateTree
from outrider.learner.learner_plan import LearnerPlan
from outrider.learner.portions import Portion, Portions
from outrider.learner.rank_error import LostRankError
from outrider.learner.rank_state import copied, for_all
from outrider.learner.ray_ranks import Options, RayRanks, raise_cause, read_answer
from outrider.learner.recovery import Recovery
from outrider.learner.shards import deal_streams
from outrider.transport import FragmentReference, WeightsReference
from outrider.transport.ray_references import RayFragment, RayWeights, put_fragment

_POLL_S = 5.0
"""How long a rank holds back the answer that nothing was learned."""
_OTHERS_EVERY_S = 0.5
"""How often ranks other than 0 are asked for their times."""
_LOGGER = logging.getLogger("outrider.learner")


class RayLearnerGroup:
    """Ranks that the training loop waits for; obeys `LearnerGroup`."""

    def __init__(self, plan: LearnerPlan, *, num_learners: int, options: Options, run: str = "") -> None:
        """Start the ranks and wait until they are up; `run` tags their metrics. Ray is connected.

        Raises what `RayRanks` raises.
        """
        self._start = partial(RayRanks, plan, num_ranks=num_learners, options=options, run=run)
        self._ranks = self._start()
        state = copied(self._ranks.get_state("get_state"))
        self._recovery = _recovery(state, plan)
        self._snapshot: Any = None
        """A snapshot under way, as a reference."""
        self._weights = self._publish()

    def update(self, fragments: Sequence[FragmentReference]) -> dict[str, float]:
        """Train on all ranks. After the loss of a rank, train again from the newest snapshot."""
        held = [put_fragment(fragment) for fragment in fragments]
        while True:
            try:
                answers, weights = self._update(held)
            except LostRankError as error:
                self._go_back(error)
                held = self._ranks.still_there(held)
                continue
            version = int(answers[0]["version"])
            self._recovery.learned(version)
            self._weights = RayWeights(weights, version)
            self._take_snapshot()
            metrics: dict[str, float] = answers[0]["metrics"]
            return metrics

    def publish(self) -> WeightsReference:
        return self._weights

    def statistics(self) -> LearnerGroupStatistics:
        return _statistics(self._recovery)

    def get_state(self) -> StateTree:
        """Return the state of all ranks; of the newest snapshot, where a rank is lost meanwhile."""
        while True:
            try:
                return self._ranks.get_state("get_state")
            except LostRankError as error:
                self._go_back(error)

    def set_state(self, state: StateTree) -> None:
        self._ranks.set_state(state)
        self._recovery.set_state(copied(for_all(state)))
        self._weights = self._publish()

    def close(self) -> None:
        self._ranks.kill()

    def _go_back(self, error: LostRankError) -> None:
        self._snapshot = None
        self._ranks = _made_anew(self._ranks, self._start, self._recovery, error)

    def _update(self, held: Sequence[RayFragment]) -> tuple[list[Any], Any]:
        calls = _deal(self._ranks, "update", held)
        answers = self._ranks.answers([answer for answer, _ in calls])
        return answers, calls[0][1]

    def _publish(self) -> RayWeights:
        return _published(self._ranks, self._ranks.call(0, "publish"))

    def _take_snapshot(self) -> None:
        """Ask for a snapshot where it is time, and keep the one before once it is here."""
        if self._snapshot is not None and ray.wait([self._snapshot], timeout=0)[0]:
            self._recovery.keep(copied(read_answer(self._snapshot, 0)["state"]))
            self._snapshot = None
        if self._snapshot is None and self._recovery.is_due:
            self._snapshot = self._ranks.call(0, "get_state", None)


class RayAsyncLearnerGroup:
    """Ranks that train by themselves; obeys `AsyncLearnerGroup`."""

    def __init__(
        self,
        plan: LearnerPlan,
        *,
        num_learners: int,
        options: Options,
        train_batch_size: int,
        max_staleness: int,
        queue_capacity: int,
        run: str = "",
    ) -> None:
        """Start the ranks and wait until they are up; see `RayLearnerGroup`.

        `train_batch_size` and `queue_capacity` are those of all ranks together.
        """
        self._plan = plan
        self._start = partial(RayRanks, plan, num_ranks=num_learners, options=options, run=run)
        self._ranks = self._start()
        state = copied(self._ranks.get_state("get_state"))
        self._recovery = _recovery(state, plan)
        self._portions = Portions(
            train_batch_size=train_batch_size,
            max_staleness=max_staleness,
            capacity=queue_capacity,
            version=self._recovery.version,
        )
        self._others = _Times(num_learners)
        self._statistics = self.statistics()
        """Those that reports have told."""
        self._begin()

    @property
    def room(self) -> int:
        return self._portions.room

    def put(self, fragments: Sequence[FragmentReference]) -> None:
        check_room(len(fragments), self.room)
        self._deal(self._portions.add([put_fragment(fragment) for fragment in fragments]))

    def reports(self, timeout_s: float) -> list[UpdateReport]:
        """Return what was learned; see `AsyncLearnerGroup`. Takes longer where ranks are made anew."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._ask()
                report = self._hear(max(0.0, deadline - time.monotonic()))
            except LostRankError as error:
                self._go_back(error)
                report = None
            if report is not None:
                return [report]
            if time.monotonic() >= deadline:
                return []

    def publish(self) -> WeightsReference:
        return self._weights

    def statistics(self) -> LearnerGroupStatistics:
        return _statistics(self._recovery)

    def get_state(self) -> StateTree:
        """Return the state after all that was put; of the newest snapshot, where a rank is lost meanwhile."""
        while True:
            try:
                return self._ranks.get_state("state_after_all", self._plan.settings.learner_timeout_s)
            except LostRankError as error:
                self._go_back(error)

    def set_state(self, state: StateTree) -> None:
        self._ranks.set_state(state)
        self._recovery.set_state(copied(for_all(state)))
        self._weights = _published(self._ranks, self._ranks.call(0, "publish"))
        self._portions.restart(self._weights.version)

    def close(self) -> None:
        self._ranks.kill()

    def _begin(self) -> None:
        """Let all ranks train by themselves, from the state that they have."""
        self._calls: dict[Any, int] = {}
        """Answers of `put` that are under way, and the rank of each."""
        self._asked: dict[Any, tuple[int, Any]] = {}
        """Reports under way: the rank of each, and the reference of its weights."""
        self._ask_next_s = [0.0] * self._ranks.num_ranks
        self._num_learned = 0
        every = self._plan.settings.num_updates_between_snapshots
        calls = [self._ranks.call(rank, "begin", every) for rank in range(self._ranks.num_ranks)]
        answers = self._ranks.answers([answer for answer, _ in calls])
        self._weights = RayWeights(calls[0][1], int(answers[0]["version"]))

    def _deal(self, portions: Iterable[Portion]) -> None:
        for portion in portions:
            held = [put_fragment(fragment) for fragment in portion.fragments]
            calls = _deal(self._ranks, "put", held, max(portion.staleness))
            self._calls |= {answer: rank for rank, answer in enumerate(calls)}

    def _ask(self) -> None:
        """Have a question under way to rank 0 at all times, and to the others now and then."""
        under_way = {rank for rank, _ in self._asked.values()}
        now = time.monotonic()
        for rank in range(self._ranks.num_ranks):
            if rank not in under_way and now >= self._ask_next_s[rank]:
                answer, weights = self._ranks.call(rank, "report", _POLL_S)
                self._asked[answer] = (rank, weights)

    def _hear(self, timeout_s: float) -> UpdateReport | None:
        """Take one answer; return a report if it is one."""
        ready, _ = ray.wait([*self._asked, *self._calls], num_returns=1, timeout=timeout_s)
        if not ready:
            return None
        (ref,) = ready
        rank, weights = self._asked.pop(ref) if ref in self._asked else (self._calls.pop(ref), None)
        try:
            answer = read_answer(ref, rank)
        except LostRankError as error:
            others = {ref: other for ref, (other, _) in self._asked.items()} | self._calls
            raise_cause(error, others)
        if weights is None:
            return None
        if rank:
            self._ask_next_s[rank] = time.monotonic() + _OTHERS_EVERY_S
            self._others.add(answer)
        return self._report(answer, weights) if rank == 0 else None

    def _report(self, answer: Mapping[str, Any], weights: Any) -> UpdateReport | None:  # noqa: ANN401 - a reference
        """Read what rank 0 learned; of no update, only how much of what was put waits no longer."""
        num_updates = int(answer["num_updates"])
        self._num_learned += num_updates
        learned = self._portions.learned(num_updates)
        self._portions.begun(int(answer["num_begun"]) - self._num_learned)
        if not num_updates:
            return None
        self._weights = RayWeights(weights, int(answer["version"]))
        self._recovery.learned(self._weights.version)
        if answer["snapshot"] is not None:
            self._recovery.keep(copied(answer["snapshot"]))
        told, self._statistics = self._statistics, self.statistics()
        work_s, wait_s = self._others.mean_with(answer)
        return UpdateReport(
            num_updates=num_updates,
            num_rows=sum(portion.num_rows for portion in learned),
            metrics=answer["metrics"],
            weights=self._weights,
            staleness=staleness_of(learned),
            num_stale_rows=self._portions.take_num_stale_rows(),
            work_s=work_s,
            wait_s=wait_s,
            queue_depth=answer["queue_depth"],
            num_lost_updates=self._statistics.num_lost_updates - told.num_lost_updates,
            num_restarts=self._statistics.num_restarts - told.num_restarts,
        )

    def _go_back(self, error: LostRankError) -> None:
        """Make the ranks anew, and deal to them what the lost ones had not learned from."""
        while True:
            self._ranks = _made_anew(self._ranks, self._start, self._recovery, error)
            try:
                self._begin()
                fragments = self._ranks.still_there(self._portions.restart(self._recovery.version))
                self._deal(self._portions.add(fragments))
            except LostRankError as again:
                error = again
                continue
            return


class _Times:
    """Seconds that ranks other than 0 worked and waited, until they are told with rank 0's."""

    def __init__(self, num_ranks: int) -> None:
        self._num_ranks = num_ranks
        self._work_s = self._wait_s = 0.0

    def add(self, answer: Mapping[str, Any]) -> None:
        if answer["num_updates"]:
            self._work_s += answer["work_s"]
            self._wait_s += answer["wait_s"]

    def mean_with(self, answer: Mapping[str, Any]) -> tuple[float, float]:
        """Return the means over all ranks, and start anew."""
        work_s, wait_s = self._work_s + answer["work_s"], self._wait_s + answer["wait_s"]
        self._work_s = self._wait_s = 0.0
        return work_s / self._num_ranks, wait_s / self._num_ranks


def _deal(ranks: RayRanks, method: str, held: Sequence[RayFragment], *args: Any) -> list[Any]:  # noqa: ANN401
    """Call a method of every rank with its shards of the fragments; return what each call returns."""
    calls = []
    for rank, shards in enumerate(deal_streams([each.summary.num_streams for each in held], ranks.num_ranks)):
        used = sorted({shard.fragment for shard in shards})
        plain = [(used.index(shard.fragment), shard.first, shard.stop) for shard in shards]
        calls.append(ranks.call(rank, method, plain, *args, *(held[number].ref for number in used)))
    return calls


def _made_anew(
    ranks: RayRanks, start: Callable[[], RayRanks], recovery: Recovery, error: LostRankError
) -> RayRanks:
    """End what is left of a group and make it again from the newest snapshot."""
    began = time.monotonic()
    while True:
        ranks.kill()
        state = recovery.go_back(str(error))
        try:
            ranks = start()
            ranks.set_state(state)
        except LostRankError as again:
            error = again
            continue
        _LOGGER.warning("the learners are back after %.1f s", time.monotonic() - began)
        return ranks


def _published(ranks: RayRanks, call: Sequence[Any]) -> RayWeights:
    answer, weights = call
    return RayWeights(weights, int(ranks.answers([answer])[0]["version"]))


def _recovery(state: StateTree, plan: LearnerPlan) -> Recovery:
    return Recovery(
        for_all(state),
        num_updates_between_snapshots=plan.settings.num_updates_between_snapshots,
        max_restarts=plan.settings.max_learner_restarts,
    )


def _statistics(recovery: Recovery) -> LearnerGroupStatistics:
    return LearnerGroupStatistics(
        num_restarts=recovery.num_restarts, num_lost_updates=recovery.num_lost_updates
    )
