"""Brings back ranks that have policies of their own: from a snapshot, and what changed. Free of Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from outrider.learner.groups.rank_error import LostRankError
from outrider.learner.learner import StateTree
from outrider.learner.slices.slice_ranks import SliceRanks, lost_ranks


class SliceChanges:
    """Calls that changed a rank, and are in no snapshot of it."""

    def __init__(self, ranks: SliceRanks) -> None:
        self._ranks = ranks
        self._calls: dict[int, list[tuple[Any, ...]]] = {}

    def make(
        self,
        calls: Sequence[Sequence[tuple[Any, ...]]],
        go_back: Callable[[Sequence[LostRankError]], object],
    ) -> None:
        """Make calls as `ChangingRanks.change` has them; one whose rank is lost again, after `go_back`."""
        for at_once in calls:
            left = list(at_once)
            while left:
                found, lost = self._ranks.settled({call[0]: self._ranks.call(*call) for call in left})
                for call in left:
                    if call[0] in found:
                        self._calls.setdefault(call[0], []).append(call)
                go_back(lost_ranks(lost))
                left = [call for call in left if call[0] not in found]

    def restore(self, rank: int, state: StateTree) -> None:
        """Make a rank anew from its snapshot, and change it again; raises LostRankError."""
        self._ranks.make_anew(rank)
        for call in [(rank, "set_state", {}, state), *self._calls.get(rank, ())]:
            self._ranks.answer(rank, self._ranks.call(*call))

    def clear(self) -> None:
        """Forget all calls: they failed, or snapshots have them."""
        self._calls.clear()
