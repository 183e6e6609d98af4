"""Lays out who acts in a step: the rows of each stack.

Axes: E = copies, A = agent slots, G = slots of a group, N = rows of a stack in a step. Agent slot a of
copy e is slot e * A + a; rows of a stack are sorted by policy, then by slot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.slot_groups import SlotGroups

Indices = NDArray[np.intp]
_FEW_IDLE = 64
"""So many rows of one policy are computed in the time that it takes to leave them out."""
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

    While most of a stack's agents act, all are computed: to tell them apart in every step would take longer.
    """

    def __init__(self, slots: SlotGroups) -> None:
        """Nobody has a policy before `assign`."""
        self._slots = slots
        self._policy, self._stack = np.zeros(0, np.int32), np.zeros(0, np.intp)
        self._whole: list[ActingRows] = []
        self._num_policies: list[int] = []
        self._kept: list[dict[bytes, ActingRows]] = []

    def assign(self, policy: NDArray[np.int32], stack: NDArray[np.intp]) -> None:
        """Set policy and stack of all slots, [E * A]."""
        if np.array_equal(policy, self._policy) and np.array_equal(stack, self._stack):
            return
        self._policy, self._stack = policy.copy(), stack.copy()
        by_policy = np.argsort(policy, kind="stable")
        orders = [by_policy[stack[by_policy] == each] for each in range(int(stack.max()) + 1)]
        self._whole = [self._rows(order, is_whole=True) for order in orders]
        self._num_policies = [len(np.unique(rows.policy)) for rows in self._whole]
        self._kept = [{} for _ in orders]

    def rows(self, acting: NDArray[np.bool_]) -> list[ActingRows]:
        """Return the rows of each stack, where `acting` [E * A]; the same object for the same."""
        num_acting = int(np.count_nonzero(acting))
        if num_acting == len(acting) or (
            len(self._whole) == 1 and _is_most(num_acting, len(acting), self._num_policies[0])
        ):
            return self._whole
        return [
            self._some(*each, acting.take(each[0].slots))
            for each in zip(self._whole, self._kept, self._num_policies, strict=True)
        ]

    def _some(
        self, whole: ActingRows, kept: dict[bytes, ActingRows], num_policies: int, acting: NDArray[np.bool_]
    ) -> ActingRows:
        if _is_most(int(np.count_nonzero(acting)), len(acting), num_policies):
            return whole
        key = acting.tobytes()
        rows = kept.get(key)
        if rows is None:
            if len(kept) == _MOST_KEPT:
                kept.clear()
            rows = kept[key] = self._part(whole, acting.nonzero()[0])
        return rows

    def _part(self, whole: ActingRows, which: Indices) -> ActingRows:
        """Return some of a stack's rows."""
        slots = whole.slots.take(which)
        if len(whole.parts) != 1:  # of several groups, or of no agent
            return self._rows(slots, is_whole=False)
        (group,) = whole.parts
        part = GroupRows(group.group, group.places.take(which), group.rows)
        return ActingRows(slots, whole.policy.take(which), (part,), is_whole=False)

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


def _is_most(num_acting: int, num_rows: int, num_policies: int) -> bool:
    """Return whether computing all rows takes no longer than telling apart those that act."""
    if num_policies == 1:
        return num_rows - num_acting < min(_FEW_IDLE, num_acting)
    # Of several rows for each policy some are left nearly always, and all policies have as many as one.
    return num_acting * (4 if num_rows > num_policies else 2) > num_rows
