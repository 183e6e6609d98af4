"""A learner group whose ranks are Ray actors: the driver's side of `outrider.learner.ray_groups.ray_rank`.

    driver                     ranks                       object store
    update: references ------> each pulls its shard <----- fragments
    answer                  <- weights ------------------> weights, once per node that reads them

What ranks share out, and whose answers and weights are the group's, says `outrider.learner.plans.sharing`.
The driver reads no fragment and no weights; of a snapshot it keeps a copy in its own memory, so that the
group can be made anew when a rank dies.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import ray

from outrider.learner.groups.dealt_calls import Answer, LostFragments, deal, rest_of
from outrider.learner.groups.group import LearnerGroupStatistics
from outrider.learner.groups.rank_error import LostObjectError, LostRankError
from outrider.learner.groups.recovery import Recovery, until_done
from outrider.learner.learner import StateTree
from outrider.learner.plans.rank_state import copied, for_all
from outrider.learner.ray_groups.ray_ranks import Options, Plan, RayRanks, read_answer
from outrider.transport import FragmentReference, WeightsReference
from outrider.transport.ray_references import RayFragment, RayWeights, put_fragment

R = TypeVar("R")
_LOGGER = logging.getLogger("outrider.learner")


class RayLearnerGroup:
    """Ranks that the training loop waits for; obeys `LearnerGroup`."""

    def __init__(self, plan: Plan, *, num_learners: int, options: Options, run: str = "") -> None:
        """Start the ranks and wait until they are up; `run` tags their metrics. Ray is connected.

        Raises what `RayRanks` raises.
        """
        self._start = partial(RayRanks, plan=plan, num_ranks=num_learners, options=options, run=run)
        self._ranks = self._start()
        state = copied(self._ranks.get_state("get_state"))
        self._recovery = recovery_from(state, plan)
        self._lost = LostFragments()
        self._snapshot: list[Any] = []
        """A snapshot under way, as references."""
        self._weights = self._ranks.publish()

    def update(self, fragments: Sequence[FragmentReference]) -> dict[str, float]:
        """Train on all ranks. After the loss of a rank, train again from the newest snapshot.

        Fragments that were lost with their node are left out and counted. Returns nothing, after no
        training, where too few are left to go round.
        """
        held = self._enough([put_fragment(fragment) for fragment in fragments])
        while held:
            try:
                metrics, self._weights = self._update(held)
            except (LostRankError, LostObjectError) as error:
                held = self._left_after(error, held)
            else:
                self._recovery.learned(self._weights.version)
                self._take_snapshot()
                return metrics
        return {}

    @property
    def num_ranks(self) -> int:
        """How many ranks there are."""
        return self._ranks.num_ranks

    def ask(self, rank: int, name: str, *arguments: Any) -> Answer:  # noqa: ANN401 - plain values
        """Return a rank's answer to a call that changes nothing."""
        return self._until_done(lambda: self._ranks.answer(rank, self._ranks.call(rank, name, *arguments)))

    def change(self, calls: Sequence[Sequence[tuple[Any, ...]]], plan: Plan) -> None:
        """See `outrider.learner.groups.group_policies.ChangingRanks`."""

        def change() -> tuple[StateTree, RayWeights]:
            for at_once in calls:
                self._ranks.answers([self._ranks.call(*call) for call in at_once])
            return copied(self._ranks.get_state("get_state")), self._ranks.publish()

        state, self._weights = self._until_done(change)
        self._start = partial(self._start, plan=plan)
        self._snapshot = []
        self._recovery.set_state(for_all(state))

    def publish(self) -> WeightsReference:
        return self._weights

    def statistics(self) -> LearnerGroupStatistics:
        return statistics_of(self._recovery)

    def get_state(self) -> StateTree:
        """Return the state of all ranks; of the newest snapshot, where a rank is lost meanwhile."""
        return self._until_done(lambda: self._ranks.get_state("get_state"))

    def set_state(self, state: StateTree) -> None:
        def set_state() -> RayWeights:
            self._ranks.set_state(state)
            return self._ranks.publish()

        self._weights = self._until_done(set_state)
        self._snapshot = []
        self._recovery.set_state(copied(for_all(state)))

    def close(self) -> None:
        self._ranks.kill()

    def _until_done(self, call: Callable[[], R]) -> R:
        return until_done(call, self._go_back, LostRankError)

    def _go_back(self, error: LostRankError) -> None:
        """Make the ranks anew, and publish what they have: the weights before may be gone, too."""
        self._snapshot = []
        self._ranks = made_anew(self._ranks, self._start, self._recovery, error)
        try:
            self._weights = self._ranks.publish()
        except LostRankError as again:
            self._go_back(again)

    def _left_after(
        self, error: LostRankError | LostObjectError, held: Sequence[RayFragment]
    ) -> list[RayFragment]:
        """Return the fragments that are left, or none where they do not go round; count the others."""
        try:
            if isinstance(error, LostRankError):
                raise error
            there = self._ranks.still_there(held)
            self._recovery.num_lost_rows += self._lost.count_missed(error, held, there)
        except LostRankError as lost:
            self._go_back(lost)
            there = self._until_done(lambda: self._ranks.still_there(held))
        self._recovery.num_lost_rows += self._lost.count(held, there)
        return self._enough(there)

    def _enough(self, held: list[RayFragment]) -> list[RayFragment]:
        """Return the fragments, or none, which are then lost, where they do not go round."""
        num_needed = self._ranks.sharing.min_num_streams(self._ranks.num_ranks)
        if sum(each.summary.num_streams for each in held) >= num_needed:
            return held
        _LOGGER.warning("this update is left out: too few of its fragments are left")
        self._recovery.num_lost_rows += self._lost.count(held, [])
        return []

    def _update(self, held: Sequence[RayFragment]) -> tuple[dict[str, float], RayWeights]:
        """Train once. Raises LostObjectError where no rank could begin, because fragments are gone."""
        ranks = self._ranks
        dealt = deal(held, ranks.sharing, ranks.num_ranks)
        calls = [ranks.call_with_weights(rank, "update", *shards) for rank, shards in enumerate(dealt)]
        while True:
            try:
                answers = ranks.answers([answer for answer, _ in calls])
                break
            except LostObjectError:
                lacking = ranks.lacking([answer for answer, _ in calls])
                if len(lacking) == ranks.num_ranks:
                    raise
                for each in lacking:
                    there = ranks.still_there(held, rank=each.rank)
                    rest = rest_of(held, there, ranks.sharing, ranks.num_ranks, error=each)
                    self._recovery.num_lost_rows += self._lost.count_missed(each, held, there)
                    calls[each.rank] = ranks.call_with_weights(each.rank, "update", *rest)
        weights = ranks.joined_weights([calls[rank][1] for rank in ranks.holders], answers[0]["version"])
        return ranks.sharing.join_metrics([answers[rank]["metrics"] for rank in ranks.holders]), weights

    def _take_snapshot(self) -> None:
        """Ask for a snapshot where it is time, and keep the one before once it is here."""
        asked = self._snapshot
        if asked and not ray.wait(asked, num_returns=len(asked), timeout=0)[1]:
            self._snapshot = []
            with suppress(LostRankError):  # the next update finds that out
                states = [read_answer(part, rank)["state"] for rank, part in enumerate(asked)]
                self._recovery.keep(copied(self._ranks.sharing.join_states(states)))
        if not self._snapshot and self._recovery.is_due:
            self._snapshot = [self._ranks.call(rank, "get_state", None) for rank in self._ranks.holders]


def made_anew(
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


def recovery_from(state: StateTree, plan: Plan) -> Recovery:
    return Recovery(
        for_all(state),
        num_updates_between_snapshots=plan.settings.num_updates_between_snapshots,
        max_restarts=plan.settings.max_learner_restarts,
    )


def statistics_of(recovery: Recovery) -> LearnerGroupStatistics:
    return LearnerGroupStatistics(
        num_restarts=recovery.num_restarts,
        num_lost_updates=recovery.num_lost_updates,
        num_lost_rows=recovery.num_lost_rows,
    )
