"""Ranks that have policies of their own, as a group that the training loop waits for. Free of torch and Ray.

They sum nothing with each other, so that one that dies takes back its own policies and no other's:

    rank 0    version 7   8       9  learned, then counted        9
    rank 1            7   dies    8  anew, from its snapshot      9  learned from the same fragments
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from outrider.learner.groups.dealt_calls import Answer, HeldFragment, deal
from outrider.learner.groups.group import LearnerGroupStatistics
from outrider.learner.groups.rank_error import LostObjectError, LostRankError
from outrider.learner.groups.recovery import until_done
from outrider.learner.learner import StateTree
from outrider.learner.plans.multi_agent_plan import MultiAgentPlan
from outrider.learner.plans.rank_state import copied
from outrider.learner.slices.slice_changes import SliceChanges
from outrider.learner.slices.slice_ranks import SliceRanks, lost_ranks
from outrider.learner.slices.slice_recovery import SliceRecovery
from outrider.transport import FragmentReference, WeightsReference

_LOGGER = logging.getLogger("outrider.learner")


class SliceLearnerGroup:
    """Trains each policy on the rank that has it; obeys `LearnerGroup`."""

    def __init__(self, ranks: SliceRanks, plan: MultiAgentPlan) -> None:
        """Take over ranks that are up, made of `plan`."""
        self._ranks = ranks
        self._recovery = SliceRecovery(
            self._states(),
            num_updates_between_snapshots=plan.settings.num_updates_between_snapshots,
            max_restarts=plan.settings.max_learner_restarts,
        )
        self._snapshots: dict[int, Any] = {}
        """Snapshots under way, as references, by rank."""
        self._changes = SliceChanges(ranks)
        self._weights = self._ranks.publish()

    @property
    def num_ranks(self) -> int:
        """How many ranks there are."""
        return self._ranks.num_ranks

    def update(self, fragments: Sequence[FragmentReference]) -> dict[str, float]:
        """Train each rank on the rows of its policies; a rank that dies meanwhile, anew, again.

        Fragments that were lost with their node are left out and counted.
        """
        handed = self._ranks.held(fragments)
        answers: dict[int, Answer] = {}
        weights: dict[int, Any] = {}
        went_back = False
        while left := [rank for rank in range(self.num_ranks) if rank not in answers]:
            held = self._recovery.left_of(handed)
            calls = {rank: self._train(rank, held) for rank in left}
            weights |= {rank: call[1] for rank, call in calls.items()}
            found, lost = self._ranks.settled({rank: call[0] for rank, call in calls.items()})
            answers |= found
            made = self._go_back_of(self._lost_of(lost, held))
            went_back |= bool(made)
            for rank in made:
                answers.pop(rank, None)
                with suppress(LostRankError):  # its update will say so
                    self._recovery.lost(held, self._ranks.still_there(held, rank=rank))
        self._learned({} if went_back else weights, answers[0]["version"])
        self._take_snapshots()
        return self._ranks.sharing.join_metrics([answers[rank]["metrics"] for rank in sorted(answers)])

    def ask(self, rank: int, name: str, *arguments: Any) -> Answer:  # noqa: ANN401 - plain values
        """Return a rank's answer to a call that changes nothing."""
        return until_done(
            lambda: self._ranks.answer(rank, self._ranks.call(rank, name, *arguments)),
            self._go_back_and_publish,
            LostRankError,
        )

    def change(self, calls: Sequence[Sequence[tuple[Any, ...]]], plan: MultiAgentPlan) -> None:
        """See `outrider.learner.groups.group_policies.ChangingRanks`."""
        try:
            self._changes.make(calls, self._go_back_of)
            self._keep_all(plan)
        finally:
            self._changes.clear()

    def publish(self) -> WeightsReference:
        return self._weights

    def statistics(self) -> LearnerGroupStatistics:
        return self._recovery.statistics()

    def get_state(self) -> StateTree:
        """Return the state of all ranks; of the newest snapshot of one that is lost meanwhile."""
        return until_done(
            lambda: self._ranks.get_state("get_state"), self._go_back_and_publish, LostRankError
        )

    def set_state(self, state: StateTree) -> None:
        lost = self._recovery.hand_out(state, self._ranks)
        self._snapshots.clear()
        self._go_back_of(lost)
        self._keep_all(self._ranks.plan)

    def close(self) -> None:
        self._ranks.kill()

    def _keep_all(self, plan: MultiAgentPlan) -> None:
        """Take what the ranks have now, the policies of `plan`, for their snapshots, and publish it."""
        self._snapshots.clear()
        # Who goes back has policies of the plan before, which then change again.
        states, self._weights = until_done(
            lambda: (self._states(), self._ranks.publish()), self._go_back, LostRankError
        )
        self._ranks.plan = plan
        self._changes.clear()
        self._recovery.set_states(states)

    def _states(self) -> list[StateTree]:
        calls = [self._ranks.call(rank, "get_state", None) for rank in range(self.num_ranks)]
        return [copied(answer["state"]) for answer in self._ranks.answers(calls)]

    def _train(self, rank: int, held: Sequence[HeldFragment]) -> tuple[Any, Any]:
        shard = deal(held, self._ranks.sharing, self.num_ranks)[rank]
        return self._ranks.call_with_weights(rank, "update", *shard)

    def _learned(self, weights: Mapping[int, Any], version: int) -> None:
        """Publish what the ranks learned: `weights` of each, by reference, or else what they have."""
        try:
            parts = [weights[rank] for rank in sorted(weights)]
            self._weights = self._ranks.joined_weights(parts, version) if parts else self._ranks.publish()
        except LostRankError as error:
            self._go_back_and_publish(error)
        for rank in range(self.num_ranks):
            self._recovery.learned(rank, self._weights.version)

    def _lost_of(
        self, errors: Sequence[LostRankError | LostObjectError], held: Sequence[HeldFragment]
    ) -> list[LostRankError]:
        """Count the fragments that ranks lack; return who is gone, or lacks what can be fetched."""
        lost = lost_ranks(errors)
        for error in errors:
            if isinstance(error, LostObjectError):
                try:
                    self._recovery.missed(error, held, self._ranks.still_there(held, rank=error.rank))
                except LostRankError as again:
                    lost.append(again)
        return lost

    def _go_back_and_publish(self, error: LostRankError) -> None:
        self._go_back(error)
        self._weights = until_done(self._ranks.publish, self._go_back, LostRankError)

    def _go_back_of(self, lost: Sequence[LostRankError]) -> set[int]:
        made: set[int] = set()
        for error in lost:
            if error.rank not in made:
                made |= self._go_back(error)
        return made

    def _go_back(self, error: LostRankError) -> set[int]:
        """Make a rank anew from its snapshot, and let the others count with it; return which were.

        It goes on at a version that it never had, so that runners take its policies for newer.
        """
        rank = error.rank
        assert rank is not None, "ranks that sum nothing are lost by themselves"
        began = time.monotonic()
        version = self._recovery.version + 1
        while True:
            self._snapshots.pop(rank, None)
            state = self._recovery.go_back(rank, str(error), version=version)
            try:
                self._changes.restore(rank, state)
                break
            except LostRankError as again:
                error = again
        _LOGGER.warning("learner %d is back after %.1f s", rank, time.monotonic() - began)
        others = [other for other in range(self.num_ranks) if other != rank]
        _, lost = self._ranks.settled({other: self._ranks.call(other, "count_change") for other in others})
        return {rank} | self._go_back_of(lost_ranks(lost))

    def _take_snapshots(self) -> None:
        """Ask for snapshots where it is time, and keep those before once they are here."""
        for rank, ref in list(self._snapshots.items()):
            if self._ranks.first([ref], 0.0) is not None:
                del self._snapshots[rank]
                with suppress(LostRankError):  # the next update finds that out
                    self._recovery.keep(rank, copied(self._ranks.read(ref, rank)["state"]))
        if not self._snapshots and self._recovery.is_due:
            self._snapshots = {
                rank: self._ranks.call(rank, "get_state", None) for rank in range(self.num_ranks)
            }
