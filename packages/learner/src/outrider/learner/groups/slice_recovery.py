"""What each rank that has policies of its own goes back to when it dies; the others keep what they learned.

Free of torch and Ray.
"""

from __future__ import annotations

from collections.abc import Sequence

from outrider.learner.groups.group import LearnerGroupStatistics
from outrider.learner.groups.rank_state import copied
from outrider.learner.groups.recovery import Recovery
from outrider.learner.groups.sharing import Sharing
from outrider.learner.learner import StateTree


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
        self.num_lost_rows = 0
        """Counted by whoever finds them lost."""

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

    def set_state(self, state: StateTree, sharing: Sharing) -> None:
        """Let each rank go back to its part of a state that the group was given."""
        _, parts = sharing.deal_state(state, len(self._ranks))
        self.set_states([copied(part) for part in parts])

    def set_states(self, states: Sequence[StateTree]) -> None:
        """Let all go on from states that the user chose, or that have other policies."""
        for rank, state in zip(self._ranks, states, strict=True):
            rank.set_state(state)
        self._num_policies = [_num_policies(state) for state in states]

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
            num_lost_rows=self.num_lost_rows,
        )


def _num_policies(state: StateTree) -> int:
    return sum(len(stack["numbers"]) for stack in state["stacks"].values())
