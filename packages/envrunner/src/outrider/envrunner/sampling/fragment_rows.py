"""The rows of a fragment with all that belongs to them.

Axes: N = rows of a stack, M = rows with a sparse next observation, E = copies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep
from outrider.envrunner.agents.slot_groups import SlotGroups
from outrider.envrunner.policies.stack_rows import StackRows
from outrider.envrunner.sampling.folded_rows import FoldedRows
from outrider.envrunner.sampling.kept_observations import KeptObservations
from outrider.envrunner.sampling.state_log import StateLog, States
from outrider.envrunner.sampling.stream_rows import StreamRows
from outrider.wire import Columns

Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentRows:
    """Rows, and where the rest of them is."""

    rows: FoldedRows
    parts: list[StreamRows]
    """Of each stack."""
    places: Indices
    """Where the columns of each row are in its stack."""
    versions: NDArray[np.int64]
    """Of each row."""
    states: Indices | None
    """Which global state each row was opened in; None where there are none."""
    states_now_E: Indices
    """[E] the states that copies are in now."""
    log: StateLog
    kept: KeptObservations
    slots: SlotGroups

    def unseen(self) -> Indices:
        """Return which rows were cut off without a word of what their agent observed last."""
        (cut,) = self.rows.is_cut.nonzero()
        return cut[~self.kept.has(self.rows.closed[cut])] if len(cut) else cut

    def next_observations(self, part: StreamRows, columns: StackRows, step: MultiAgentStep) -> Columns:
        """Return what followed [M, ...]; `step` is the last one."""
        sources = self._sources(part)
        following = {}
        for path, column in columns.observations.items():
            found = np.empty((len(sources.rows), *column.shape[1:]), column.dtype)
            found[sources.is_row] = column[self.places[sources.rows[sources.is_row] + 1]]
            for group, chosen in sources.now.items():
                shown = step.observations[group][path]
                places = self.slots.place_S[self.rows.slots[sources.rows[chosen]]]
                found[chosen] = shown.reshape(-1, *shown.shape[2:])[places]
            for group, chosen in sources.kept.items():
                places = self.kept.places(group, self.rows.closed[sources.rows[chosen]])
                found[chosen] = self.kept.observations(group, path)[places]
            following[path] = found
        return following

    def critic_states(self, part: StreamRows) -> tuple[States, NDArray[np.int64], NDArray[np.int64]] | None:
        """Return the global states that rows need, those of the rows [N], and of what followed [M].

        The latter two are numbers of the former. None where there are no states.
        """
        log = self.log.all()
        if self.states is None or log is None:
            return None
        sources = self._sources(part)
        slots = self.rows.slots[sources.rows]
        following = self.states_now_E[slots // self.slots.num_agents]
        following[sources.is_row] = self.states[sources.rows[sources.is_row] + 1]
        for group, chosen in sources.kept.items():
            places = self.kept.places(group, self.rows.closed[sources.rows[chosen]])
            following[chosen] = self.kept.states(group)[places]
        needed, places = np.unique(np.concatenate([self.states[part.rows], following]), return_inverse=True)
        places = places.reshape(-1).astype(np.int64)
        return log[needed], places[: len(part.rows)], places[len(part.rows) :]

    def _by_group(self, mask: Flags, groups: Indices) -> dict[int, Flags]:
        chosen = {group: mask & (groups == group) for group in range(len(self.slots.groups))}
        return {group: each for group, each in chosen.items() if np.count_nonzero(each)}

    def _sources(self, part: StreamRows) -> _Sources:
        rows, which = self.rows, part.rows[part.next_rows]
        slots = rows.slots[which]
        is_kept = rows.is_cut[which]
        after = np.minimum(which + 1, len(rows.slots) - 1)
        is_row = ~is_kept & (rows.slots[after] == slots) & ~rows.is_committed[after]
        is_now = ~(is_kept | is_row)
        groups = self.slots.group_S[slots]
        return _Sources(
            rows=which,
            is_row=is_row,
            now=self._by_group(is_now, groups),
            kept=self._by_group(is_kept, groups),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sources:
    """Where the observations are that followed some rows [M]: each in exactly one of three sources."""

    rows: Indices
    """Which of the folded rows."""
    is_row: Flags
    """The agent's next row, which is open, or was lost when its copy failed, has seen it."""
    now: dict[int, Flags]
    """By group, it is what the agent sees now."""
    kept: dict[int, Flags]
    """By group, it was kept at the end of the episode."""
