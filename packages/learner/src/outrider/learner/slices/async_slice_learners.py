"""Ranks that train policies of their own without pause, as a group. Free of torch and Ray.

    put:     references -> portions -> all of each portion to every rank, which queues it up
    reports: one question under way to every rank, answered when an update of its own has ended

Ranks keep their own pace: no one waits for another before the queue of the slowest is full. What the group
has learned is what all ranks have, and its weights are at the version of the one that is furthest behind. A
rank that dies is made anew alone: it goes back to its snapshot, and gets again what it had not learned from.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from outrider.learner.groups.async_group import check_room, hear_all, hear_first, report_of
from outrider.learner.groups.dealt_calls import Answer, HeldFragment, deal
from outrider.learner.groups.group import LearnerGroupStatistics, UpdateReport
from outrider.learner.groups.rank_error import LostObjectError, LostRankError
from outrider.learner.groups.recovery import until_done
from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.plans.rank_state import copied
from outrider.learner.rows.portions import Portion, Portions
from outrider.learner.slices.slice_changes import SliceChanges
from outrider.learner.slices.slice_progress import SliceProgress
from outrider.learner.slices.slice_ranks import SliceRanks
from outrider.learner.slices.slice_recovery import SliceRecovery
from outrider.learner.slices.slice_work import SliceWork
from outrider.transport import FragmentReference, WeightsReference

R = TypeVar("R")
_LOGGER = logging.getLogger("outrider.learner")
_POLL_S = 5.0
"""How long a rank holds back the answer that nothing was learned."""


class AsyncSliceLearnerGroup:
    """Ranks that train by themselves; obeys `AsyncLearnerGroup`."""

    def __init__(
        self,
        ranks: SliceRanks,
        plan: MultiAgentPlan,
        *,
        train_batch_size: int,
        max_staleness: int,
        queue_capacity: int,
        num_steps_per_fragment: int,
    ) -> None:
        """Take over ranks that are up, made of `plan`; what is given beside is as `Portions` has it.

        `train_batch_size` is that of all ranks together; `queue_capacity` updates may wait.
        """
        self._every = plan.settings.num_updates_between_snapshots
        self._timeout_s = plan.settings.learner_timeout_s
        self._ranks, num_ranks = ranks, ranks.num_ranks
        self._recovery = SliceRecovery(
            self._states("get_state"),
            num_updates_between_snapshots=self._every,
            max_restarts=plan.settings.max_learner_restarts,
        )
        self._portions = Portions(
            train_batch_size=train_batch_size,
            max_staleness=max_staleness,
            capacity=queue_capacity,
            version=self._recovery.version,
            num_steps_per_fragment=num_steps_per_fragment,
        )
        self._progress = SliceProgress(num_ranks, self._recovery.version)
        self._work = SliceWork(num_ranks)
        self._told = self.statistics()
        """Those that reports have told."""
        self._calls: dict[Any, tuple[int, Portion | None]] = {}
        """Answers of `put` and the like that are under way: the rank of each, and what it was handed."""
        self._asked: dict[int, tuple[Any, Any]] = {}
        """Reports under way, by rank: references of the answer and of its weights."""
        self._newest: list[Any] = [None] * num_ranks
        """Each rank's newest weights, as a reference."""
        self._changes = SliceChanges(ranks)
        self._unread: list[UpdateReport] = []
        for rank in range(num_ranks):
            self._begin(rank)
        self._weights = self._joined()

    @property
    def room(self) -> int:
        return self._portions.room

    @property
    def num_ranks(self) -> int:
        """How many ranks there are."""
        return self._ranks.num_ranks

    def put(self, fragments: Sequence[FragmentReference]) -> None:
        check_room(len(fragments), self.room)
        for portion in self._portions.add(self._ranks.held(fragments)):
            held = self._held(portion)
            for rank in range(self.num_ranks):
                self._hand(rank, portion, held)

    def reports(self, timeout_s: float) -> list[UpdateReport]:
        """Return what was learned; see `AsyncLearnerGroup`. Takes longer where a rank is made anew."""
        return hear_first(self._hear, self._unread, timeout_s)

    def publish(self) -> WeightsReference:
        return self._weights

    def statistics(self) -> LearnerGroupStatistics:
        return self._recovery.statistics()

    def ask(self, rank: int, name: str, *arguments: Any) -> Answer:  # noqa: ANN401 - plain values
        """Return a rank's answer to a call that changes nothing, after all that was put."""
        return self._after_all(lambda: self._ranks.answer(rank, self._ranks.call(rank, name, *arguments)))

    def change(self, calls: Sequence[Sequence[tuple[Any, ...]]], plan: MultiAgentPlan) -> None:
        """See `outrider.learner.groups.group_policies.ChangingRanks`; after all that was put."""
        self._learn_what_was_put()
        try:
            self._changes.make(calls, self._go_back_of)
            self._keep_all(plan)
        finally:
            self._changes.clear()

    def learn_what_was_put(self) -> None:
        self._after_all(lambda: None)

    def get_state(self) -> StateTree:
        """Return the state after all that was put, also where a rank has to learn from some of it again."""
        return self._after_all(lambda: self._ranks.get_state("state_after_all", self._timeout_s))

    def set_state(self, state: StateTree) -> None:
        lost = self._recovery.hand_out(state, self._ranks)
        self._progress.restart(self._recovery.version)
        self._go_back_of(lost)
        self._keep_all(self._ranks.plan)
        self._portions.restart(self._recovery.version)

    def close(self) -> None:
        self._ranks.kill()

    def _begin(self, rank: int) -> None:
        """Let a rank train by itself, from the state that it has."""
        answer, self._newest[rank] = self._ranks.call_with_weights(rank, "begin", self._every)
        self._ranks.answer(rank, answer)

    def _held(self, portion: Portion) -> Sequence[HeldFragment]:
        return self._ranks.held(portion.fragments)

    def _hand(self, rank: int, portion: Portion, held: Sequence[HeldFragment]) -> None:
        sharing, num_ranks = self._ranks.sharing, self.num_ranks
        shard = deal(held, sharing, num_ranks, max(portion.staleness, default=0))[rank]
        self._calls[self._ranks.call(rank, "put", *shard)] = (rank, portion)

    def _hand_rest(self, rank: int, portion: Portion) -> None:
        """Hand a rank what it can fetch of a portion; raises LostRankError."""
        held = self._held(portion)
        there = self._ranks.still_there(held, rank=rank)
        self._recovery.lost(held, there)
        self._hand(rank, portion, there)

    def _hear(self, timeout_s: float) -> bool:
        """Take one answer, if one comes in time; return whether one did."""
        for rank in range(self.num_ranks):
            if rank not in self._asked:
                self._asked[rank] = self._ranks.report(rank, _POLL_S)
        reports = {answer: rank for rank, (answer, _) in self._asked.items()}
        first = self._ranks.first([*reports, *self._calls], timeout_s)
        if first is None:
            return False
        try:
            if first in self._calls:
                self._read(first, *self._calls.pop(first))
            else:
                rank = reports[first]
                _, weights = self._asked.pop(rank)
                self._take_in(rank, self._ranks.read(first, rank), weights)
        except LostRankError as error:
            self._go_back(error)
        return True

    def _read(self, answer: Any, rank: int, portion: Portion | None) -> None:  # noqa: ANN401 - a reference
        """Read a rank's answer, which may be that it lacks some of a portion; then it gets the rest."""
        try:
            self._ranks.read(answer, rank)
        except LostObjectError as error:
            assert portion is not None, "fragments come with portions"
            held = self._held(portion)
            there = self._ranks.still_there(held, rank=rank)
            self._recovery.missed(error, held, there)
            self._hand(rank, portion, there)

    def _take_in(self, rank: int, answer: Mapping[str, Any], weights: Any) -> None:  # noqa: ANN401
        """Read what a rank learned; of no update, only how much of what was put waits no longer."""
        self._progress.learned(rank, int(answer["num_updates"]), int(answer["num_begun"]))
        if answer["num_updates"]:
            self._newest[rank] = weights
            self._recovery.learned(rank, int(answer["version"]))
            if answer["snapshot"] is not None:
                self._recovery.keep(rank, copied(answer["snapshot"]))
            self._work.add(rank, answer)
        learned = self._portions.learned(self._progress.take_num_learned())
        self._portions.begun(self._progress.num_begun)
        if learned:
            self._weights = self._joined()
            self._unread.append(self._report(learned))

    def _report(self, learned: Sequence[Portion]) -> UpdateReport:
        told, self._told = self._told, self.statistics()
        work = self._work.take()
        return report_of(
            learned,
            self._portions,
            metrics=self._ranks.sharing.join_metrics(work.metrics),
            weights=self._weights,
            work_s=work.work_s,
            wait_s=work.wait_s,
            queue_depth=work.queue_depth,
            num_lost_updates=self._told.num_lost_updates - told.num_lost_updates,
            num_restarts=self._told.num_restarts - told.num_restarts,
            num_lost_rows=self._told.num_lost_rows - told.num_lost_rows,
        )

    def _joined(self) -> WeightsReference:
        """Return the group's weights, once they are made; those before, where a rank is lost meanwhile."""
        try:
            return self._ranks.joined_weights(self._newest, self._recovery.version)
        except LostRankError as error:
            self._go_back(error)
            return self._weights

    def _states(self, name: str, *arguments: Any) -> list[StateTree]:  # noqa: ANN401 - plain values
        calls = [self._ranks.call(rank, name, None, *arguments) for rank in range(self.num_ranks)]
        return [copied(answer["state"]) for answer in self._ranks.answers(calls)]

    def _keep_all(self, plan: MultiAgentPlan) -> None:
        """Take what the ranks, all of which wait, have now for their snapshots, and publish it.

        That is the policies of `plan`.
        """

        def ask() -> tuple[list[StateTree], list[Any]]:
            states = self._states("state_after_all", self._timeout_s)
            calls = [self._ranks.call_with_weights(rank, "publish") for rank in range(self.num_ranks)]
            self._ranks.answers([answer for answer, _ in calls])
            return states, [weights for _, weights in calls]

        # Who goes back has policies of the plan before, which then change again.
        states, self._newest = until_done(ask, self._go_back, LostRankError)
        self._ranks.plan = plan
        self._recovery.set_states(states)
        self._progress.restart(self._recovery.version)
        self._changes.clear()
        self._weights = self._joined()
        self._portions.go_on_at(self._recovery.version)

    def _after_all(self, call: Callable[[], R]) -> R:
        """Call once every rank has learned from every portion; again, where one is lost meanwhile."""

        def call_after_all() -> R:
            self._learn_what_was_put()
            return call()

        return until_done(call_after_all, self._go_back, LostRankError)

    def _learn_what_was_put(self) -> None:
        """Wait until all ranks have learned from every portion; reports are kept."""
        hear_all(self._hear, self._portions, self._timeout_s, self.statistics)

    def _go_back_of(self, lost: Sequence[LostRankError]) -> None:
        for error in lost:
            self._go_back(error)

    def _go_back(self, error: LostRankError) -> None:
        """Make a rank anew from its snapshot, and hand it what it had not learned from; the others go on."""
        rank = error.rank
        assert rank is not None, "ranks that sum nothing are lost by themselves"
        began = time.monotonic()
        first, version = self._progress.made_anew(rank)
        while True:
            self._asked.pop(rank, None)
            self._calls = {call: other for call, other in self._calls.items() if other[0] != rank}
            state = self._recovery.go_back(rank, str(error), version=version)
            try:
                self._changes.restore(rank, state)
                self._begin(rank)
                for portion in self._portions.dealt[first:]:
                    self._hand_rest(rank, portion)
                break
            except LostRankError as again:
                error = again
        _LOGGER.warning("learner %d is back after %.1f s", rank, time.monotonic() - began)
        for other in range(self.num_ranks):
            if other != rank:
                self._calls[self._ranks.call(other, "count_change")] = (other, None)
        self._portions.count_change()
