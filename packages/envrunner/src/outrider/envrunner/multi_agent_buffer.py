"""Collects the rows of all agents, and brings those that are complete into the order of streams.

Axes: S = agent slots of all copies, E = copies, N = rows, M = rows with a sparse next observation.

A row is open until its agent acts again or its episode ends; only then is it known what its action
brought, and it is committed:

    step         0     1     2     3   | next fragment
    red         act   ...   act   ...  | acts          row 0 is committed at step 1, row 2 travels
    blue        ...   act   ...   act  |               row 1 is committed at step 2, row 3 travels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.acting_rows import ActingRows
from outrider.envrunner.stack_rows import StackRows
from outrider.envrunner.state_log import StateLog, States
from outrider.wire import Columns

Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]
_FEW = 1 << 16
"""Keys of 16 bits are sorted by counting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamRows:
    """The committed rows of one stack, stream after stream."""

    lengths: NDArray[np.int64]
    """Rows of each stream."""
    policy: NDArray[np.int32]
    """Of each stream."""
    slots: Indices
    """Of each stream."""
    rows: Indices
    """[N] numbers of the rows."""
    places: Indices
    """[N] where their columns are."""
    next_rows: Indices
    """[M] those that the next row does not follow and that did not terminate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Followed:
    """Where the observations are that followed some rows [M]: each in exactly one of three sources."""

    kept: Indices
    """Numbers among those kept at truncations; -1 where it is in another source."""
    open_places: Indices
    """Where the columns of the slot's open row are; -1 likewise."""
    slots: Indices
    """Whose they are: what they see now, where both others are -1."""


class MultiAgentBuffer:
    """Rows of all stacks, of one fragment after the other."""

    def __init__(self, stacks: Sequence[StackRows], num_envs: int, num_agents: int) -> None:
        """Start without rows."""
        self.stacks = stacks
        self.num_rows = 0
        self._num_agents = num_agents
        num_slots = num_envs * num_agents
        self._is_open_S = np.zeros(num_slots, np.bool_)
        self._open_row_S = np.zeros(num_slots, np.intp)
        self._acted_S = np.zeros(num_slots, np.bool_)
        self._pending_S = np.zeros(num_slots, np.float32)
        """What came together for rows that are open for longer than a step."""
        self._waits = False
        """Whether somebody's row is open whose agent did not act in the last step, or acts no more yet."""
        self._blocks: list[tuple[slice, Indices]] = []
        """Rows of this step and whose they are, where nobody waits."""
        self.rewards = np.zeros(0, np.float32)
        self.terminated = np.zeros(0, np.bool_)
        self.truncated = np.zeros(0, np.bool_)
        self.versions = np.zeros(0, np.int64)
        self._is_committed = np.zeros(0, np.bool_)
        self._stream = np.zeros(0, np.intp)
        self._place = np.zeros(0, np.intp)
        self._state = np.zeros(0, np.intp)
        self._kept = np.zeros(0, np.intp)
        self._ramp = np.arange(0)
        self._kept_observations: list[list[Columns]] = []
        self._kept_states: list[list[Indices]] = []
        self._states = StateLog()
        self._has_states = False
        self._no_states_E = np.zeros(num_envs, np.intp)
        self._first_state_now = 0
        self._stream_policy = np.zeros(0, np.int32)
        self._stream_stack = np.zeros(0, np.intp)
        self._stream_slot = np.zeros(0, np.intp)
        self.stream_S = np.arange(num_slots)
        """[S] in which stream the next row of each slot will be."""

    # -- what happens within a fragment ---------------------------------------------------------------

    def start(self, states: States | None) -> None:
        """Start afresh, without open rows, where copies have the global `states` [E, D] if there are any."""
        self._is_open_S[:] = False
        self._waits = False
        self._has_states = states is not None
        self._states = StateLog()
        self._first_state_now = self._states.add(states)

    def begin(self, policy_S: NDArray[np.int32], stack_S: Indices) -> None:
        """Begin a fragment. Open rows stay, every slot with the stream that it has the number of."""
        slots = np.flatnonzero(self._is_open_S)
        rows = self._open_row_S[slots]
        num_open, stacks = len(rows), stack_S[slots]
        places = np.zeros(num_open, np.intp)
        for index, stack in enumerate(self.stacks):
            of_stack = stacks == index
            stack.keep_only(self._place[rows[of_stack]])
            places[of_stack] = np.arange(stack.num_rows)
        versions = self.versions[rows]
        now = self._first_state_now + np.arange(len(policy_S) // self._num_agents)
        self._states.keep_only(np.concatenate([self._state[rows], now]))
        self._first_state_now = num_open
        self._carry(slots, places, versions)
        self._kept_observations = [[] for _ in self.stacks]
        self._kept_states = [[np.zeros(0, np.intp)] for _ in self.stacks]
        self.stream_S = np.arange(len(policy_S))
        self._stream_policy, self._stream_stack = policy_S.copy(), stack_S.copy()
        self._stream_slot = np.arange(len(policy_S))

    def begin_step(self, acting_S: Flags) -> None:
        """Begin a step in which some agents act."""
        self._acted_S = acting_S
        self._blocks.clear()
        if self._waits:
            self._pending_S[acting_S] = 0
            self._is_open_S |= acting_S
        else:
            self._is_open_S[:] = acting_S

    def act(self, stack: int, acting: ActingRows, version: int) -> slice:
        """Open a row for each agent of a stack that acts; return where their columns are to be written.

        Rows of those that do not act are there too where `acting` has them, but are never committed.
        """
        places = self.stacks[stack].reserve(len(acting.slots))
        rows = self._new_rows(len(acting.slots))
        self._stream[rows] = acting.streams
        self._place[rows] = self._ramp[places]
        self.versions[rows] = version
        if self._has_states:
            self._state[rows] = self._first_state_now + acting.slots // self._num_agents
        if not self._waits:  # whoever else is written to is not open
            self._open_row_S[acting.slots] = self._ramp[rows]
            self._blocks.append((rows, acting.slots))
        else:
            acts = self._acted_S[acting.slots]
            self._open_row_S[acting.slots[acts]] = np.flatnonzero(acts) + rows.start
        return places

    def change_policy(self, slots: Indices, policy: NDArray[np.int32], stack: Indices) -> None:
        """Begin new streams for slots whose policy is another one from now on."""
        self.stream_S[slots] = np.arange(len(slots)) + len(self._stream_slot)
        self._stream_slot = np.append(self._stream_slot, slots)
        self._stream_policy = np.append(self._stream_policy, policy)
        self._stream_stack = np.append(self._stream_stack, stack)

    def fail(self, failed_S: Flags) -> int:
        """Drop the open rows of copies that failed, and cut their episodes before; return how many."""
        slots = np.flatnonzero(failed_S & self._is_open_S)
        rows = np.flatnonzero(self._is_committed[: self.num_rows])
        last_S = np.full(len(failed_S), -1, np.intp)
        last_S[self._stream_slot[self._stream[rows]]] = rows  # of several, the last one stays
        last, dropped = last_S[slots], self._open_row_S[slots]
        goes_on = (last >= 0) & ~(self.terminated[last] | self.truncated[last])
        last, dropped = last[goes_on], dropped[goes_on]
        self.truncated[last] = True
        stacks = self._stream_stack[self._stream[last]]
        for stack in np.unique(stacks).tolist():
            of_stack = stacks == stack
            places = self._place[dropped[of_stack]]
            columns = {path: column[places] for path, column in self.stacks[stack].observations.items()}
            self._keep(stack, last[of_stack], columns, self._state[dropped[of_stack]])
        self._is_open_S[slots] = False
        return len(slots)

    def keep_last(
        self, slots: Indices, observations: Columns, terminated_S: Flags, last_state_E: Indices
    ) -> None:
        """Keep what agents [K] of one group observed that were cut off in this step: [K, ...].

        `last_state_E` [E] says which global state was the last of each copy's episode.
        """
        cut = self._is_open_S[slots] & ~terminated_S[slots]
        rows = self._open_row_S[slots[cut]]
        stacks = self._stream_stack[self._stream[rows]]
        for stack in np.unique(stacks).tolist():
            of_stack = stacks == stack
            taken = np.flatnonzero(cut)[of_stack]
            columns = {path: column[taken] for path, column in observations.items()}
            self._keep(stack, rows[of_stack], columns, last_state_E[slots[taken] // self._num_agents])

    def commit(
        self, closed_S: Flags, rewards_S: NDArray[np.float32], terminated_S: Flags, truncated_S: Flags
    ) -> None:
        """Give the step's rewards to the open rows, and commit those of the agents that are `closed`.

        These are the agents whose episode ended, or that act again.
        """
        closed_S = closed_S & self._is_open_S
        if self._waits:
            self._pending_S += rewards_S
            slots = closed_S.nonzero()[0]
            rows = self._open_row_S[slots]
            self.rewards[rows] = self._pending_S[slots]
            self.terminated[rows] = terminated_S[slots]
            self.truncated[rows] = truncated_S[slots]
            self._is_committed[rows] = True
        else:
            for block, slots in self._blocks:
                rewards_S.take(slots, out=self.rewards[block], mode="clip")
                terminated_S.take(slots, out=self.terminated[block], mode="clip")
                truncated_S.take(slots, out=self.truncated[block], mode="clip")
                closed_S.take(slots, out=self._is_committed[block], mode="clip")
        self._is_open_S ^= closed_S
        waits = bool(np.count_nonzero(self._is_open_S))
        if waits and not self._waits:
            self._pending_S[:] = rewards_S
        self._waits = waits

    def show(self, states: States | None, last_states: States | None, over_E: Flags) -> Indices:
        """Note the global states after a step; return [E] which one was the last of each copy's episode."""
        if not self._has_states:
            return self._no_states_E
        first_last = self._states.add(last_states)
        self._first_state_now = self._states.add(states)
        last_E = self._first_state_now + np.arange(len(over_E))
        if last_states is not None:
            last_E[over_E] = first_last + np.arange(len(last_states))
        return last_E

    # -- what becomes of it ---------------------------------------------------------------------------

    def streams(self) -> list[StreamRows]:
        """Return the committed rows of each stack: streams sorted by policy and slot, rows by time."""
        rows = np.flatnonzero(self._is_committed[: self.num_rows])
        stream = self._stream[rows]
        num_rows = np.bincount(stream, minlength=len(self._stream_slot))
        present = np.flatnonzero(num_rows)
        keys = (self._stream_slot, self._stream_policy, self._stream_stack)
        present = present[np.lexsort((present, *(key[present] for key in keys)))]
        rank = np.zeros(len(num_rows), np.uint16 if len(present) <= _FEW else np.int64)
        rank[present] = np.arange(len(present))
        rows = rows[np.argsort(rank[stream], kind="stable")]
        stacks, lengths = self._stream_stack[present], num_rows[present]
        ends = np.cumsum(lengths)
        parts = []
        for stack in range(len(self.stacks)):
            first, stop = np.searchsorted(stacks, [stack, stack + 1])
            first_row, stop_row = (int(ends[at - 1]) if at else 0 for at in (first, stop))
            part = rows[first_row:stop_row]
            is_next = self.truncated[part]
            is_next[ends[first:stop] - 1 - first_row] = True
            parts.append(
                StreamRows(
                    lengths=lengths[first:stop].astype(np.int64),
                    policy=self._stream_policy[present[first:stop]],
                    slots=self._stream_slot[present[first:stop]],
                    rows=part,
                    places=self._place[part],
                    next_rows=np.flatnonzero(is_next & ~self.terminated[part]),
                )
            )
        return parts

    def followed(self, streams: StreamRows) -> Followed:
        """Say where the observations are that followed the rows `streams.next_rows`."""
        rows = streams.rows[streams.next_rows]
        slots = self._stream_slot[self._stream[rows]]
        kept = self._kept[rows]
        is_open = (kept < 0) & self._is_open_S[slots]
        open_places = np.where(is_open, self._place[self._open_row_S[slots] * is_open], -1)
        return Followed(kept=kept, open_places=open_places, slots=slots)

    def kept_observations(self, stack: int) -> dict[str, NDArray[Any]]:
        """Return what was kept at truncations of a stack's agents: [kept, ...] by leaf path."""
        kept = self._kept_observations[stack]
        return {
            path: np.concatenate([columns[path] for columns in kept]) if kept else column[:0]
            for path, column in self.stacks[stack].observations.items()
        }

    def states(
        self, stack: int, streams: StreamRows, followed: Followed
    ) -> tuple[States, NDArray[np.int64], NDArray[np.int64]] | None:
        """Return the global states that a stack's rows need, those of the rows [N], of what followed [M].

        The latter two are numbers of the former. None where there are no states.
        """
        states = self._states.all()
        if states is None:
            return None
        kept = np.concatenate(self._kept_states[stack])
        is_kept, is_open = followed.kept >= 0, followed.open_places >= 0
        next_states = self._first_state_now + followed.slots // self._num_agents
        next_states[is_kept] = kept[followed.kept[is_kept]]
        next_states[is_open] = self._state[self._open_row_S[followed.slots[is_open]]]
        needed, places = np.unique(
            np.concatenate([self._state[streams.rows], next_states]), return_inverse=True
        )
        places = places.reshape(-1).astype(np.int64)
        return states[needed], places[: len(streams.rows)], places[len(streams.rows) :]

    # -- open rows, between fragments -----------------------------------------------------------------

    def get_state(self, stack_S: Indices) -> dict[str, Any]:
        """Return the open rows, and the global states that they and the next ones need.

        `stack_S` [S] are the stacks of all slots.
        """
        slots = np.flatnonzero(self._is_open_S)
        rows = self._open_row_S[slots]
        stacks = stack_S[slots]
        states = self._states.all()
        now = self._first_state_now + np.arange(len(self._is_open_S) // self._num_agents)
        return {
            "slots": slots,
            "pending": self._pending_S[slots],
            "versions": self.versions[rows],
            "stacks": stacks,
            "columns": [
                stack.rows(self._place[rows[stacks == index]]) for index, stack in enumerate(self.stacks)
            ],
            "states": None if states is None else states[np.concatenate([self._state[rows], now])],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned, with `begin`."""
        self.start(state["states"])
        slots = np.array(state["slots"], np.intp)
        self._first_state_now = len(slots)
        places = np.zeros(len(slots), np.intp)
        for index, (stack, columns) in enumerate(zip(self.stacks, state["columns"], strict=True)):
            stack.set_rows(columns)
            places[state["stacks"] == index] = np.arange(stack.num_rows)
        self._carry(slots, places, state["versions"])
        self._pending_S[slots] = state["pending"]

    def _new_rows(self, num_rows: int) -> slice:
        first, self.num_rows = self.num_rows, self.num_rows + num_rows
        if self.num_rows > len(self.rewards):
            self._grow(max(2 * len(self.rewards), self.num_rows))
        rows = slice(first, self.num_rows)
        self._is_committed[rows] = False
        self._kept[rows] = -1
        return rows

    def _carry(self, slots: Indices, places: Indices, versions: NDArray[np.int64]) -> None:
        """Make the open rows of slots the first rows, the numbers of which their states have too."""
        self.num_rows = 0
        rows = self._new_rows(len(slots))
        self._stream[rows] = slots
        self._place[rows] = places
        self._state[rows] = np.arange(len(slots))
        self.versions[rows] = versions
        self._open_row_S[slots] = np.arange(len(slots))
        self._is_open_S[slots] = True
        self._waits = bool(len(slots))

    def _grow(self, size: int) -> None:
        self._ramp = np.arange(size)  # no stack has more rows than all together
        for name in (
            *("rewards", "terminated", "truncated", "versions"),
            *("_is_committed", "_stream", "_place", "_state", "_kept"),
        ):
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros(size - len(column), column.dtype)]))

    def _keep(
        self, stack: int, rows: Indices, observations: Mapping[str, NDArray[Any]], states: Indices
    ) -> None:
        first = sum(map(len, self._kept_states[stack]))
        self._kept[rows] = first + np.arange(len(rows))
        self._kept_observations[stack].append(observations)
        self._kept_states[stack].append(states)
