"""Lays out who acts in a step: the rows of each stack.

Axes: E = copies, A = agent slots, G = slots of a group, N = rows of a stack in a step. Agent slot a of
copy e is slot e * A + a; rows of a stack are sorted by policy, then by slot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.slot_groups import SlotGroups

Indices = NDArray[np.intp]
_MOST_KEPT = 64
"""Layouts that are kept. Turn-based games come back to a few; where agents die, none comes back."""


@dataclass(frozen=True, slots=True)
class GroupRows:
    """Those rows of a stack whose agents are in one group."""

    group: int
    places: Indices
    """[n] e * G + g of each."""
    rows: slice | Indices
    """[n] which rows they are; all, where the stack's agents are in one group."""


@dataclass(frozen=True, slots=True)
class ActingRows:
    """The rows of one stack in a step."""

    slots: Indices
    """[N] who acts."""
    policy: NDArray[np.int32]
    """[N] with which policy, ascending."""
    parts: tuple[GroupRows, ...]
    """Where they are in the arrays of groups."""
    is_whole: bool
    """Whether these are all slots of the stack, also those that do not act and are only computed."""


class ActingLayouts:
    """The rows of every stack, made anew only when somebody comes, goes or changes his policy.

    While more than half of a stack's agents act, all are computed: to tell them apart in every step would
    take longer.
    """

    def __init__(self, slots: SlotGroups) -> None:
        """Nobody has a policy before `assign`."""
        self._slots = slots
        self._policy = np.zeros(0, np.int32)
        self._whole: list[ActingRows] = []
        self._kept: list[dict[bytes, ActingRows]] = []

    def assign(self, policy: NDArray[np.int32], stack: NDArray[np.intp]) -> None:
        """Set policy and stack of all slots, [E * A]."""
        self._policy = policy.copy()
        by_policy = np.argsort(policy, kind="stable")
        orders = [by_policy[stack[by_policy] == each] for each in range(int(stack.max()) + 1)]
        self._whole = [self._rows(order, is_whole=True) for order in orders]
        self._kept = [{} for _ in orders]

    def rows(self, acting: NDArray[np.bool_]) -> list[ActingRows]:
        """Return the rows of each stack, where `acting` [E * A]; the same object for the same."""
        num_acting = np.count_nonzero(acting)
        if num_acting == len(acting) or (len(self._whole) == 1 and 2 * num_acting > len(acting)):
            return self._whole
        return [
            self._some(whole, kept, acting.take(whole.slots))
            for whole, kept in zip(self._whole, self._kept, strict=True)
        ]

    def _some(
        self, whole: ActingRows, kept: dict[bytes, ActingRows], acting: NDArray[np.bool_]
    ) -> ActingRows:
        if 2 * np.count_nonzero(acting) > len(acting):
            return whole
        key = acting.tobytes()
        rows = kept.get(key)
        if rows is None:
            if len(kept) == _MOST_KEPT:
                kept.clear()
            rows = kept[key] = self._rows(whole.slots[acting], is_whole=False)
        return rows

    def _rows(self, slots: Indices, *, is_whole: bool) -> ActingRows:
        groups, places = self._slots.group_S[slots], self._slots.place_S[slots]
        if len(slots) and (groups == groups[0]).all():
            parts: tuple[GroupRows, ...] = (GroupRows(int(groups[0]), places, slice(None)),)
        else:
            parts = tuple(
                GroupRows(int(group), places[groups == group], np.flatnonzero(groups == group))
                for group in np.unique(groups)
            )
        return ActingRows(slots, self._policy[slots], parts, is_whole)
