"""Learner ranks on Ray that train by themselves: the driver's side of `outrider.learner.ray_groups.ray_rank`.

    put:     references -> portions -> a shard of each portion for each rank, which queues them up
    reports: one question under way to every rank, answered when an update has ended

Why ranks never wait for each other in vain: the driver cuts what comes in into portions, one for each
update, and deals the streams of each to all ranks at once, in the same order. How old its fragments will be
is decided there, too. A rank throws nothing away and chooses nothing, so that each takes the same updates;
it enters a sum only with its shard in hand, and the others have theirs or are about to. While runners are
slow no rank is inside a sum, and no deadline runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import ray

from outrider.learner.groups.async_group import check_room, hear_all, hear_first, report_of
from outrider.learner.groups.dealt_calls import Answer, LostFragments, deal, rest_of
from outrider.learner.groups.group import LearnerGroupStatistics, UpdateReport
from outrider.learner.groups.rank_error import LostObjectError, LostRankError
from outrider.learner.groups.recovery import until_done
from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.plans.rank_state import copied, for_all
from outrider.learner.ray_groups.ray_learners import made_anew, recovery_from, statistics_of
from outrider.learner.ray_groups.ray_ranks import Options, Plan, RayRanks, raise_cause, read_answer
from outrider.learner.rows.portions import Portion, Portions, is_same
from outrider.transport import FragmentReference, WeightsReference
from outrider.transport.ray_references import RayFragment, RayWeights, put_fragment

R = TypeVar("R")
_POLL_S = 5.0
"""How long a rank holds back the answer that nothing was learned."""
_OTHERS_EVERY_S = 0.5
"""How often ranks other than 0 are asked for their times."""
_SUM_GRACE_S = 10.0
"""A sum that waits for a rank which does not answer fails after `learner_timeout_s`; that is heard first."""


class RayAsyncLearnerGroup:
    """Ranks that train by themselves; obeys `AsyncLearnerGroup`."""

    def __init__(
        self,
        plan: Plan,
        *,
        num_learners: int,
        options: Options,
        train_batch_size: int,
        max_staleness: int,
        queue_capacity: int,
        num_steps_per_fragment: int | None = None,
        run: str = "",
    ) -> None:
        """Start the ranks and wait until they are up; see `RayLearnerGroup`.

        `train_batch_size` is that of all ranks together; `queue_capacity` updates may wait. Steps per
        fragment are as `Portions` has them.
        """
        self._every = plan.settings.num_updates_between_snapshots
        self._timeout_s = plan.settings.learner_timeout_s
        self._start = partial(RayRanks, plan=plan, num_ranks=num_learners, options=options, run=run)
        self._ranks = self._start()
        state = copied(self._ranks.get_state("get_state"))
        self._recovery = recovery_from(state, plan)
        self._portions = Portions(
            train_batch_size=train_batch_size,
            max_staleness=max_staleness,
            capacity=queue_capacity,
            version=self._recovery.version,
            num_ranks=self._ranks.sharing.min_num_streams(num_learners),
            num_steps_per_fragment=num_steps_per_fragment,
        )
        self._lost = LostFragments()
        self._may_lack = False
        """Whether fragments went with their node a moment ago: others that runners still have may, too."""
        self._others = _Times(num_learners)
        self._statistics = self.statistics()
        """Those that reports have told."""
        self._unread: list[UpdateReport] = []
        self._begin()

    @property
    def room(self) -> int:
        return self._portions.room

    def put(self, fragments: Sequence[FragmentReference]) -> None:
        """Hand fragments over; waits until a rank has fetched them where some were lost a moment ago."""
        check_room(len(fragments), self.room)
        held = [put_fragment(fragment) for fragment in fragments]
        if self._may_lack:
            there = until_done(lambda: self._ranks.still_there(held), self._go_back, LostRankError)
            self._count_gone(held, there)
            held = there
        self._deal(self._portions.add(held))

    def reports(self, timeout_s: float) -> list[UpdateReport]:
        """Return what was learned; see `AsyncLearnerGroup`. Takes longer where ranks are made anew."""
        return hear_first(self._hear, self._unread, timeout_s)

    def publish(self) -> WeightsReference:
        return self._weights

    def statistics(self) -> LearnerGroupStatistics:
        return statistics_of(self._recovery)

    def learn_what_was_put(self) -> None:
        self._after_all(lambda: None)

    def get_state(self) -> StateTree:
        """Return the state after all that was put; of the newest snapshot, where a rank is lost meanwhile."""
        return self._after_all(lambda: self._ranks.get_state("state_after_all", self._timeout_s))

    def set_state(self, state: StateTree) -> None:
        def set_state() -> RayWeights:
            self._ranks.set_state(state)
            return self._ranks.publish()

        self._weights = until_done(set_state, self._go_back, LostRankError)
        self._recovery.set_state(copied(for_all(state)))
        self._portions.restart(self._weights.version)

    @property
    def num_ranks(self) -> int:
        """How many ranks there are."""
        return self._ranks.num_ranks

    def ask(self, rank: int, name: str, *arguments: Any) -> Answer:  # noqa: ANN401 - plain values
        """Return a rank's answer to a call that changes nothing, after all that was put."""
        return self._after_all(lambda: self._ranks.answer(rank, self._ranks.call(rank, name, *arguments)))

    def change(self, calls: Sequence[Sequence[tuple[Any, ...]]], plan: MultiAgentPlan) -> None:
        """See `outrider.learner.groups.group_policies.ChangingRanks`; after all that was put."""

        def change() -> tuple[StateTree, RayWeights]:
            for at_once in calls:
                self._ranks.answers([self._ranks.call(*call) for call in at_once])
            state = copied(self._ranks.get_state("state_after_all", self._timeout_s))
            return state, self._ranks.publish()

        state, self._weights = self._after_all(change)
        self._start = partial(self._start, plan=plan)
        self._recovery.set_state(for_all(state))
        self._portions.go_on_at(self._weights.version)

    def close(self) -> None:
        self._ranks.kill()

    def _begin(self) -> None:
        """Let all ranks train by themselves, from the state that they have."""
        self._calls: dict[Any, tuple[int, Portion]] = {}
        """Answers of `put` that are under way: the rank of each, and what it was handed."""
        self._lacking: list[tuple[LostObjectError, Portion]] = []
        """Ranks that could not take a portion in, while other ranks' answers are under way."""
        self._asked: dict[Any, tuple[int, Any]] = {}
        """Reports under way: the rank of each, and the reference of its weights."""
        self._ask_next_s = [0.0] * self._ranks.num_ranks
        self._num_learned = 0
        calls = [
            self._ranks.call_with_weights(rank, "begin", self._every) for rank in range(self._ranks.num_ranks)
        ]
        answers = self._ranks.answers([answer for answer, _ in calls])
        self._weights = RayWeights(calls[0][1], int(answers[0]["version"]))

    def _deal(self, portions: Iterable[Portion]) -> None:
        for portion in portions:
            sharing, num_ranks = self._ranks.sharing, self._ranks.num_ranks
            for rank, shards in enumerate(deal(_held(portion), sharing, num_ranks, max(portion.staleness))):
                self._calls[self._ranks.call(rank, "put", *shards)] = (rank, portion)

    def _deal_again(self, portion: Portion) -> None:
        """Deal a portion again of which some is gone, once all ranks have said whether they took theirs in.

        Where none did, what is left is cut and dealt anew. Otherwise those that lack it are handed the rest
        of theirs, for which the others wait in a sum; raises LostRankError where nothing is left for one.
        """
        if any(is_same(each, portion) for _, each in self._calls.values()):
            return
        lacking = [error for error, each in self._lacking if is_same(each, portion)]
        self._lacking = [(error, each) for error, each in self._lacking if not is_same(each, portion)]
        held, ranks = _held(portion), self._ranks
        self._may_lack |= len(lacking) > 0
        for error in lacking:
            there = ranks.still_there(held, rank=error.rank)
            if len(lacking) == ranks.num_ranks:
                self._recovery.num_lost_rows += self._lost.count_missed(error, held, there)
                self._deal(self._portions.cut_anew(portion, there))
                return
            rest = rest_of(held, there, ranks.sharing, ranks.num_ranks, max(portion.staleness), error=error)
            self._recovery.num_lost_rows += self._lost.count_missed(error, held, there)
            self._calls[ranks.call(error.rank, "put", *rest)] = (error.rank, portion)

    def _count_gone(self, held: Sequence[RayFragment], there: Sequence[RayFragment]) -> None:
        """Count those that will not be added because they are no longer there."""
        self._recovery.num_lost_rows += self._lost.count(held, there)
        self._portions.lost(len(held) - len(there))
        self._may_lack = len(there) < len(held)

    def _ask(self) -> None:
        """Have a question under way to rank 0 at all times, and to the others now and then."""
        under_way = {rank for rank, _ in self._asked.values()}
        now = time.monotonic()
        for rank in range(self._ranks.num_ranks):
            if rank not in under_way and now >= self._ask_next_s[rank]:
                answer, weights = self._ranks.report(rank, _POLL_S)
                self._asked[answer] = (rank, weights)

    def _hear(self, timeout_s: float) -> bool:
        """Take one answer, if one comes in time; return whether one did."""
        self._ask()
        # Answers of `put` first: of an update that a report counts, it is known then which it is.
        ready, _ = ray.wait([*self._calls, *self._asked], num_returns=1, timeout=timeout_s)
        if not ready:
            return False
        try:
            self._read(ready[0])
        except LostRankError as error:
            self._go_back(error)
        return True

    def _read(self, ref: Any) -> None:  # noqa: ANN401 - a reference
        """Read an answer that is there. Raises LostRankError for the rank that is the cause."""
        if ref in self._calls:
            rank, portion = self._calls.pop(ref)
            try:
                self._answer(ref, rank)
            except LostObjectError as error:
                self._lacking.append((error, portion))
            self._deal_again(portion)
            return
        rank, weights = self._asked.pop(ref)
        answer = self._answer(ref, rank)
        if rank:
            self._ask_next_s[rank] = time.monotonic() + _OTHERS_EVERY_S
            self._others.add(answer)
        else:
            self._take_in(answer, weights)

    def _answer(self, ref: Any, rank: int) -> Answer:  # noqa: ANN401 - a reference
        """Return what a rank answered. Raises as `_read` does, and LostObjectError."""
        try:
            answer: Answer = read_answer(ref, rank)
        except LostRankError as error:
            others = {ref: other for ref, (other, _) in [*self._asked.items(), *self._calls.items()]}
            raise_cause(error, others)
        return answer

    def _take_in(self, answer: Mapping[str, Any], weights: Any) -> None:  # noqa: ANN401 - a reference
        """Read what rank 0 learned; of no update, only how much of what was put waits no longer."""
        num_updates = int(answer["num_updates"])
        self._num_learned += num_updates
        learned = self._portions.learned(num_updates)
        self._portions.begun(int(answer["num_begun"]) - self._num_learned)
        if not num_updates:
            return
        self._weights = RayWeights(weights, int(answer["version"]))
        self._recovery.learned(self._weights.version)
        if answer["snapshot"] is not None:
            self._recovery.keep(copied(answer["snapshot"]))
        told, self._statistics = self._statistics, self.statistics()
        work_s, wait_s = self._others.mean_with(answer)
        report = report_of(
            learned,
            self._portions,
            metrics=answer["metrics"],
            weights=self._weights,
            work_s=work_s,
            wait_s=wait_s,
            queue_depth=answer["queue_depth"],
            num_lost_updates=self._statistics.num_lost_updates - told.num_lost_updates,
            num_restarts=self._statistics.num_restarts - told.num_restarts,
            num_lost_rows=self._statistics.num_lost_rows - told.num_lost_rows,
        )
        self._unread.append(report)

    def _after_all(self, call: Callable[[], R]) -> R:
        """Call once every portion is learned from; again, where a rank is lost meanwhile."""

        def call_after_all() -> R:
            self._learn_what_was_put()
            return call()

        return until_done(call_after_all, self._go_back, LostRankError)

    def _learn_what_was_put(self) -> None:
        """Wait until every portion is learned from; reports are kept. Errors of all ranks are heard."""
        hear_all(self._hear, self._portions, self._timeout_s + _SUM_GRACE_S, self.statistics)

    def _go_back(self, error: LostRankError) -> None:
        """Make the ranks anew, and deal to them what the lost ones had not learned from."""
        waiting: list[RayFragment] = []
        while True:
            self._ranks = made_anew(self._ranks, self._start, self._recovery, error)
            waiting += map(put_fragment, self._portions.restart(self._recovery.version))
            try:
                self._begin()
                there = self._ranks.still_there(waiting)
                self._count_gone(waiting, there)
                waiting = []
                self._deal(self._portions.add(there))
            except LostRankError as again:
                error = again
                continue
            return


def _held(portion: Portion) -> list[RayFragment]:
    return [put_fragment(fragment) for fragment in portion.fragments]


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
