"""Makes rows of what happened in the steps of a fragment.

Axes: S = agent slots of all copies, T = steps, U = T + 1 columns: one for the time before, then all steps;
N = rows, by slot and then by time.

A row is open until its agent acts again or its episode ends; only then is it known what its action
brought, and it is committed. Rewards in between add to it:

    step         0     1     2     3   | next fragment
    red         act   ...   act   ...  | acts          row 0 is committed at step 1, row 2 travels
    blue        ...   act   ...   act  |               row 1 is committed at step 2, row 3 travels

A row that travelled here was opened in the column before the first step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.sampling.step_planes import StepPlanes

Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldedRows:
    """All rows of a fragment, also those that are still open, and those that were lost."""

    num_slots: int
    """S."""
    cells: Indices
    """[N] s * U + u in which each was opened."""
    slots: Indices
    """[N] whose they are."""
    steps: Indices
    """[N] in which step each was opened; -1 before the first."""
    closed: Indices
    """[N] s * U + u in which each was closed; that of an open row is its slot's last cell."""
    is_open: Flags
    """[N] rows that are not closed yet."""
    is_committed: Flags
    """[N] rows that are closed, and that no failure lost."""
    rewards: NDArray[np.float32]
    """[N] what came together; also for rows that are open."""
    terminated: Flags
    truncated: Flags
    is_cut: Flags
    """[N] rows after which the agent observed something that it did not act on any more."""
    forgotten: Indices
    """Which rows were open when the episode of their copy was over, and their agent got no end: an
    environment's mistake."""

    @property
    def num_lost(self) -> int:
        """Rows of steps in which a copy failed."""
        return len(self.cells) - int(np.count_nonzero(self.is_committed | self.is_open))


def fold_rows(planes: StepPlanes, is_open_S: Flags, pending_S: NDArray[np.float32]) -> FoldedRows:
    """Close the rows, those that were opened before (`is_open_S`, with rewards `pending_S`) included."""
    num_slots, width = len(is_open_S), planes.num_steps + 1
    no_S = np.zeros(num_slots, np.bool_)
    cells = np.flatnonzero(by_slot(is_open_S, planes.acting_TS[:-1]))
    terminated = by_slot(no_S, planes.terminated_TS).ravel()
    truncated = by_slot(no_S, planes.truncated_TS).ravel()
    rewards = by_slot(pending_S, planes.rewards_TS).ravel()
    closes = terminated | truncated
    closes |= planes.acting_TS.T.ravel()
    slots, columns = np.divmod(cells, width)
    failed = None
    if planes.has_failed:
        failed = by_slot(no_S, np.repeat(planes.failed_TE, planes.num_agents, 1)).ravel()
        closes |= failed
    over = None
    if planes.over_TE.any():
        over = by_slot(no_S, np.repeat(planes.over_TE & ~planes.failed_TE, planes.num_agents, 1)).ravel()
        closes |= over
    if closes[cells].all():  # nobody waits
        closed, is_closed = cells, np.ones(len(cells), np.bool_)
        sums = rewards[cells]
    else:
        closed, is_closed = _next_close(cells, slots, closes, width)
        sums = _sums(rewards, cells, closed)
    row_terminated, row_truncated = terminated[closed] & is_closed, truncated[closed] & is_closed
    is_cut = row_truncated & ~row_terminated
    is_committed = is_closed
    forgotten = cells[:0]
    if over is not None:
        (forgotten,) = np.nonzero(over[closed] & is_closed & ~(row_terminated | row_truncated))
    if failed is not None:
        is_lost = failed[closed] & is_closed
        is_committed = is_closed & ~is_lost
        before = np.flatnonzero(is_lost[1:] & is_committed[:-1] & (slots[1:] == slots[:-1]))
        before = before[~(row_terminated[before] | row_truncated[before])]
        row_truncated[before] = True
    return FoldedRows(
        num_slots=num_slots,
        cells=cells,
        slots=slots,
        steps=columns - 1,
        closed=closed,
        is_open=~is_closed,
        is_committed=is_committed,
        rewards=sums,
        terminated=row_terminated,
        truncated=row_truncated,
        is_cut=is_cut,
        forgotten=forgotten,
    )


def by_slot(before_S: NDArray[Any], plane_TS: NDArray[Any]) -> NDArray[Any]:
    """Return [S, U] of what was before and of [T, S], in the dtype of the former."""
    planes_SU = np.empty((len(before_S), len(plane_TS) + 1), before_S.dtype)
    planes_SU[:, 0] = before_S
    planes_SU[:, 1:] = plane_TS.T
    return planes_SU


def _next_close(cells: Indices, slots: Indices, closes: Flags, width: int) -> tuple[Indices, Flags]:
    """Return where each row is closed, the last cell of its slot where it is not, and whether it is."""
    closing = np.append(np.flatnonzero(closes), closes.size)
    closed = closing[np.searchsorted(closing, cells)]
    last = (slots + 1) * width - 1
    is_closed = closed <= last
    return np.where(is_closed, closed, last), is_closed


def _sums(values: NDArray[np.float32], firsts: Indices, lasts: Indices) -> NDArray[np.float32]:
    """Sum the values from each first to each last place, both included."""
    if not len(firsts):
        return np.zeros(0, np.float32)
    bounds = np.stack([firsts, lasts + 1], 1).ravel()
    sums = np.add.reduceat(np.append(values, 0).astype(np.float64), bounds)
    return sums[::2].astype(np.float32)
