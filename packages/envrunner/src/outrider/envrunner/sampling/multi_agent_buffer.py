"""Collects what agents do and see in the steps of a fragment, and makes rows of it.

Axes: S = agent slots of all copies, E = copies, N = rows of a stack, M = rows with a sparse next observation.

Columns that policies see and make are written by each stack (`StackRows`), and what a step brought to all
agents once for all (`StepPlanes`). What belongs together is found out once, at the end (`fold_rows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep
from outrider.envrunner.agents.slot_groups import SlotGroups
from outrider.envrunner.policies.stack_rows import StackRows
from outrider.envrunner.sampling.folded_rows import fold_rows
from outrider.envrunner.sampling.fragment_rows import FragmentRows
from outrider.envrunner.sampling.kept_observations import KeptObservations
from outrider.envrunner.sampling.state_log import StateLog, States
from outrider.envrunner.sampling.step_planes import StepPlanes
from outrider.envrunner.sampling.stream_log import StreamLog
from outrider.envrunner.sampling.stream_rows import stream_rows

Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


class MultiAgentBuffer:
    """Rows of all stacks, of one fragment after the other."""

    def __init__(self, slots: SlotGroups, num_steps: int) -> None:
        """Start without rows."""
        self.stacks: Sequence[StackRows] = ()
        self.planes = StepPlanes(num_steps, slots.num_envs, slots.num_agents)
        self._slots = slots
        num_envs, num_slots = slots.num_envs, slots.num_envs * slots.num_agents
        self._copy_S = np.arange(num_slots) // slots.num_agents
        self._is_open_S = np.zeros(num_slots, np.bool_)
        self._pending_S = np.zeros(num_slots, np.float32)
        """What came together for open rows."""
        self._version_S = np.zeros(num_slots, np.int64)
        self._place_S = np.zeros(num_slots, np.intp)
        """Where the columns of open rows are."""
        self._state_S = np.zeros(num_slots, np.intp)
        """Which global states open rows were opened in."""
        self._states = StateLog()
        self._has_states = False
        self._no_states_E = np.zeros(num_envs, np.intp)
        self._first_states = [0]
        """The first of the global states [E] before each step, and after the last."""
        self._number = 0
        self.streams = StreamLog(np.zeros(0, np.int32), np.zeros(0, np.intp), np.zeros(0, np.int64))
        self._kept = KeptObservations(slots, num_steps + 1)

    # -- what happens within a fragment ---------------------------------------------------------------

    def start(self, states: States | None) -> None:
        """Start afresh, without open rows, where copies have the global `states` [E, D] if there are any."""
        self._is_open_S[:] = False
        self._has_states = states is not None
        self._states = StateLog()
        self._first_states = [self._states.add(states)]

    def begin(
        self,
        acting: Flags,
        policy_S: NDArray[np.int32],
        stack_S: Indices,
        version_S: NDArray[np.int64],
    ) -> None:
        """Begin a fragment, in which those act first that are `acting` [E, A], with weights of versions [S].

        Open rows stay, every slot with the stream that it has the number of.
        """
        self._number = 0
        self.planes.begin(acting)
        for index, stack in enumerate(self.stacks):
            slots = np.flatnonzero(self._is_open_S & (stack_S == index))
            stack.keep_only(self._place_S[slots], slots)
        if self._has_states:
            slots = np.flatnonzero(self._is_open_S)
            now = self._first_states[-1] + np.arange(self.planes.num_envs)
            self._states.keep_only(np.concatenate([self._state_S[slots], now]))
            self._state_S[slots] = np.arange(len(slots))
            self._first_states = [len(slots)]
        self.streams = StreamLog(policy_S, stack_S, version_S)
        self._kept = KeptObservations(self._slots, self.planes.num_steps + 1)

    def record(self, step: MultiAgentStep) -> Flags:
        """Note what a step brought; return who acts next [S]."""
        number, planes = self._number, self.planes
        self._number += 1
        planes.write(number, step)
        last_state_E = self._show(step) if self._has_states else self._no_states_E
        if np.count_nonzero(planes.truncated_TS[number]):
            self._kept.keep(number, step.last, last_state_E)
        acting_S: Flags = planes.acting_TS[number + 1]
        return acting_S

    def change_policy(
        self, slots: Indices, policy: NDArray[np.int32], stack: Indices, version: NDArray[np.int64]
    ) -> None:
        """Begin new streams for slots whose policy is another one from now on, with weights of versions."""
        self.streams.change(self._number, slots, policy, stack, version)

    def fold(self) -> FragmentRows:
        """Make rows of what happened. Those that are open travel with the next fragment."""
        rows = fold_rows(self.planes, self._is_open_S, self._pending_S)
        width = self.planes.num_steps + 1
        place_SU = np.zeros(len(self._is_open_S) * width, np.intp)
        for stack in self.stacks:
            place_SU[stack.cells(width)] = np.arange(stack.num_rows)
        states = None
        if self._has_states:
            new = np.array(self._first_states)[rows.steps] + self._copy_S[rows.slots]
            states = np.where(rows.steps < 0, self._state_S[rows.slots], new)
        found = FragmentRows(
            rows=rows,
            parts=stream_rows(rows, self.streams, len(self.stacks)),
            places=place_SU[rows.cells],
            versions=np.where(
                rows.steps < 0, self._version_S[rows.slots], self.streams.versions(rows.slots, rows.steps)
            ),
            states=states,
            states_now_E=self._first_states[-1] + np.arange(self.planes.num_envs),
            log=self._states,
            kept=self._kept,
            slots=self._slots,
        )
        self._carry(found)
        return found

    # -- open rows, between fragments -----------------------------------------------------------------

    def get_state(self, stack_S: Indices) -> dict[str, Any]:
        """Return the open rows, and the global states that they and the next ones need.

        `stack_S` [S] are the stacks of all slots.
        """
        slots = np.flatnonzero(self._is_open_S)
        stacks = stack_S[slots]
        states = self._states.all()
        now = self._first_states[-1] + np.arange(self.planes.num_envs)
        return {
            "slots": slots,
            "pending": self._pending_S[slots],
            "versions": self._version_S[slots],
            "stacks": stacks,
            "columns": [
                stack.rows(self._place_S[slots[stacks == index]]) for index, stack in enumerate(self.stacks)
            ],
            "states": None if states is None else states[np.concatenate([self._state_S[slots], now])],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned, with `begin`."""
        self.start(state["states"])
        slots = np.array(state["slots"], np.intp)
        self._first_states = [len(slots)]
        self._is_open_S[slots] = True
        self._pending_S[slots] = state["pending"]
        self._version_S[slots] = state["versions"]
        self._state_S[slots] = np.arange(len(slots))
        for index, (stack, columns) in enumerate(zip(self.stacks, state["columns"], strict=True)):
            of_stack = slots[state["stacks"] == index]
            stack.set_rows(columns, of_stack)
            self._place_S[of_stack] = np.arange(len(of_stack))

    def _carry(self, found: FragmentRows) -> None:
        """Remember the rows that are open."""
        open_rows = np.flatnonzero(found.rows.is_open)
        slots = found.rows.slots[open_rows]
        self._is_open_S[:] = False
        self._is_open_S[slots] = True
        self._pending_S[slots] = found.rows.rewards[open_rows]
        self._version_S[slots] = found.versions[open_rows]
        self._place_S[slots] = found.places[open_rows]
        if found.states is not None:
            self._state_S[slots] = found.states[open_rows]

    def _show(self, step: MultiAgentStep) -> Indices:
        """Note the global states after a step; return [E] which one was the last of each copy's episode."""
        first_last = self._states.add(step.last_states)
        first = self._states.add(step.states)
        self._first_states.append(first)
        last_E = first + np.arange(len(step.over))
        if step.last_states is not None:
            last_E[step.over] = first_last + np.arange(len(step.last_states))
        return last_E
