"""What each rank that has policies of its own goes back to when it dies; the others keep what they learned.

Free of torch and Ray.
"""

from __future__ import annotations

from collections.abc import Sequence

from outrider.learner.groups.dealt_calls import HeldFragment, LostFragments
from outrider.learner.groups.group import LearnerGroupStatistics
from outrider.learner.groups.rank_error import LostObjectError, LostRankError
from outrider.learner.groups.recovery import Recovery
from outrider.learner.learner import StateTree
from outrider.learner.plans.rank_state import copied
from outrider.learner.slices.slice_ranks import SliceRanks, lost_ranks


class SliceRecovery:
    """The newest snapshot of each rank, and the counts of what was lost."""

    def __init__(
        self, states: Sequence[StateTree], *, num_updates_between_snapshots: int, max_restarts: int
    ) -> None:
        """Take the state of each rank before the first update."""
        self._ranks = [
            Recovery(
                state, num_updates_between_snapshots=num_updates_between_snapshots, max_restarts=max_restarts
            )
            for state in states
        ]
        self._num_policies = [_num_policies(state) for state in states]
        self._num_lost_rows = 0
        self._lost = LostFragments()

    @property
    def version(self) -> int:
        """The newest that is known of any rank."""
        return max(rank.version for rank in self._ranks)

    @property
    def is_due(self) -> bool:
        """Whether it is time for snapshots."""
        return any(rank.is_due for rank in self._ranks)

    def learned(self, rank: int, version: int) -> None:
        """Note that a rank is at `version`."""
        self._ranks[rank].learned(version)

    def keep(self, rank: int, state: StateTree) -> None:
        """Take a newer state of a rank for its snapshot."""
        self._ranks[rank].keep(state)

    def hand_out(self, state: StateTree, ranks: SliceRanks) -> list[LostRankError]:
        """Give each rank its part of a group's state, to go on from now and whenever it goes back.

        Returns who was lost meanwhile. Raises ValueError where the state does not fit.
        """
        for_all, parts = ranks.sharing.deal_state(state, len(self._ranks))
        calls = {rank: ranks.call(rank, "set_state", for_all, part) for rank, part in enumerate(parts)}
        _, lost = ranks.settled(calls)
        self.set_states([copied(part) for part in parts])
        return lost_ranks(lost)

    def set_states(self, states: Sequence[StateTree]) -> None:
        """Let all go on from states that the user chose, or that have other policies."""
        for rank, state in zip(self._ranks, states, strict=True):
            rank.set_state(state)
        self._num_policies = [_num_policies(state) for state in states]

    def lost(self, held: Sequence[HeldFragment], there: Sequence[HeldFragment]) -> None:
        """Count the rows of fragments that are no longer there."""
        self._num_lost_rows += self._lost.count(held, there)

    def missed(
        self, error: LostObjectError, held: Sequence[HeldFragment], there: Sequence[HeldFragment]
    ) -> None:
        """Count them as `LostFragments.count_missed` does. Raises LostRankError."""
        self._num_lost_rows += self._lost.count_missed(error, held, there)

    def left_of(self, held: Sequence[HeldFragment]) -> list[HeldFragment]:
        """Return those that are not known to be lost."""
        return [each for each in held if each.ref not in self._lost.refs]

    def go_back(self, rank: int, reason: str, *, version: int) -> StateTree:
        """Return the state of a rank that is made anew; raises RuntimeError after too many in a row.

        `version` is newer than any at which the rank published its policies.
        """
        num_policies = self._num_policies[rank]
        of = f" of {num_policies} polic{'y' if num_policies == 1 else 'ies'}, and of no other"
        return self._ranks[rank].go_back(reason, of=of, version=version)

    def statistics(self) -> LearnerGroupStatistics:
        """Return the counts so far, over all ranks."""
        return LearnerGroupStatistics(
            num_restarts=sum(rank.num_restarts for rank in self._ranks),
            num_lost_updates=sum(rank.num_lost_updates for rank in self._ranks),
            num_lost_rows=self._num_lost_rows,
        )


def _num_policies(state: StateTree) -> int:
    return sum(len(stack["numbers"]) for stack in state["stacks"].values())
