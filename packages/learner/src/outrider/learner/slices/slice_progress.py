"""How far ranks that train policies of their own have come, each at its own pace. Free of torch and Ray.

    portions   0   1   2   3   4        dealt to all, in this order
    rank 0     .   .   .   x            has learned from three, and trains on the fourth
    rank 1     .   x                    has learned from one: the group has, too

A portion makes one version on every rank. So does every restart of one of them: the rank that is made anew
goes on at a version that it never had, and the others count with it, each when its turn comes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Rank:
    num_learned: int = 0
    num_begun: int = 0
    first: int = 0
    """Portions that it had learned from when it was made; below 0 where counting began later."""


class SliceProgress:
    """Counts portions since all ranks were last at one version."""

    def __init__(self, num_ranks: int, version: int) -> None:
        """All ranks are at `version`, and wait."""
        self._version = version
        self._ranks = [_Rank() for _ in range(num_ranks)]
        self._num_restarts = 0
        self._num_told = 0

    @property
    def num_learned(self) -> int:
        """Portions that all ranks have learned from."""
        return min(rank.num_learned for rank in self._ranks)

    @property
    def num_begun(self) -> int:
        """Portions that wait on no rank any longer and that not all have learned from."""
        return min(rank.num_begun for rank in self._ranks) - self.num_learned

    def restart(self, version: int) -> None:
        """Note that all ranks have learned from all portions, and are at `version`."""
        for rank in self._ranks:
            rank.first -= rank.num_learned
            rank.num_learned = rank.num_begun = 0
        self._version, self._num_restarts, self._num_told = version, 0, 0

    def learned(self, rank: int, num_updates: int, num_begun: int) -> None:
        """Note what a rank says: updates since it said so last, and those begun since it was made."""
        one = self._ranks[rank]
        one.num_learned += num_updates
        one.num_begun = max(one.num_begun, one.first + num_begun)

    def take_num_learned(self) -> int:
        """Return how many portions more all ranks have learned from since the last call."""
        num_new = self.num_learned - self._num_told
        self._num_told += num_new
        return num_new

    def made_anew(self, rank: int) -> tuple[int, int]:
        """Note that a rank begins again.

        Returns how many of the portions that not all have learned from it had, and the version that it
        goes on at.
        """
        one = self._ranks[rank]
        self._num_restarts += 1
        one.first = one.num_begun = one.num_learned
        return one.num_learned - self._num_told, self._version + one.num_learned + self._num_restarts
