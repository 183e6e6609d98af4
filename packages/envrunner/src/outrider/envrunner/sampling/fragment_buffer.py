"""Collects the rows of one fragment, in memory reserved beforehand, and puts the fragment together.

Axes: S = environments, T = vector steps, N = rows of the fragment, M = rows with a sparse next
observation, k = action parameters. Columns are [S, T, ...], so that an environment's rows lie together
in time order; a vector step writes one slot of each. Slots that hold no transition (a reset, a failure)
are left out at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.head_sampling import action_dtype
from outrider.wire import ActionHead, Columns, Space, leaf_dtype, leaf_shape, leaves

Indices = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class FragmentLayout:
    """Shapes of the columns of a runner's fragments."""

    num_envs: int
    num_steps: int
    observation_space: Space
    action_heads: tuple[ActionHead, ...]


class FragmentBuffer:
    """The slots of one fragment, and what happened in them."""

    def __init__(self, layout: FragmentLayout) -> None:
        """Reserve the slots. What becomes of them belongs to the fragment: every fragment has its own."""
        size = (layout.num_envs, layout.num_steps)
        heads = layout.action_heads
        self.observations = {
            path: np.empty((*size, *leaf_shape(leaf)), leaf_dtype(leaf))
            for path, leaf in leaves(layout.observation_space).items()
        }
        self.actions = {head.path: np.empty((*size, *head.shape), action_dtype(head)) for head in heads}
        self.parameters = np.empty((*size, max(head.stop for head in heads)), np.float32)
        self.rewards = np.empty(size, np.float32)
        self.terminated = np.empty(size, np.bool_)
        self.truncated = np.empty(size, np.bool_)
        self.is_row = np.ones(size, np.bool_)
        self.cut_slots: set[tuple[int, int]] = set()
        """(environment, step) of rows that were truncated because the environment failed after them."""
        self._num_steps = layout.num_steps
        self._rows: Indices | None = None
        self._next: list[tuple[Indices, int, Columns]] = []

    def drop(self, step: int, environments: NDArray[Any]) -> None:
        """Leave out a slot of some environments (a mask or indices): no transition happened there."""
        self.is_row[environments, step] = False

    def follow(self, step: int, environments: Indices, observations: Columns) -> None:
        """Note what followed a slot of each of some environments: [len(environments), ...], kept."""
        self._next.append((environments, step, observations))

    def cut(self, step: int, environments: Indices, observations: Columns) -> None:
        """Truncate episodes at `step`, because they cannot go on from `observations` [S, ...]."""
        self.truncated[environments, step] = True
        self.follow(step, environments, {path: column[environments] for path, column in observations.items()})
        self.cut_slots.update((environment, step) for environment in environments.tolist())

    def by_step(self) -> StepSlots:
        """Return the same slots with the step as their first axis."""
        return StepSlots(
            observations={path: slots.swapaxes(0, 1) for path, slots in self.observations.items()},
            actions={path: slots.swapaxes(0, 1) for path, slots in self.actions.items()},
            parameters=self.parameters.swapaxes(0, 1),
            rewards=self.rewards.T,
            terminated=self.terminated.T,
            truncated=self.truncated.T,
        )

    def cut_before(self, step: int, environment: int) -> None:
        """Truncate an environment's episode before `step`, whose observation was seen but led nowhere.

        Nothing happens where that episode has no row in this fragment.
        """
        before = step - 1
        if before < 0 or not self.is_row[environment, before] or self._ended(environment, before):
            return
        self.truncated[environment, before] = True
        seen = {path: column[environment, step][None].copy() for path, column in self.observations.items()}
        self.follow(before, np.array([environment]), seen)
        self.cut_slots.add((environment, before))

    def rows(self, slots: NDArray[Any]) -> NDArray[Any]:
        """Turn a column [S, T, ...] into rows [N, ...]; a view of it where every slot is a row."""
        by_row = slots.reshape(-1, *slots.shape[2:])
        numbers = self._row_numbers()
        return by_row if numbers is None else by_row.take(numbers, 0)

    def next_rows(self, latest: Columns) -> tuple[Indices, dict[str, NDArray[Any]]]:
        """Return the rows that the next row does not follow, ascending, and what followed: [M], {[M, ...]}.

        `latest` [S, ...] is what the environments show now, after the last slot.
        """
        last = self._num_steps - 1
        goes_on = self.is_row[:, last] & ~self.terminated[:, last] & ~self.truncated[:, last]
        environments = np.flatnonzero(goes_on)
        self.follow(last, environments, {path: column[environments] for path, column in latest.items()})
        number = np.cumsum(self.is_row).reshape(self.is_row.shape) - 1
        rows = np.concatenate([number[envs, step] for envs, step, _ in self._next])
        order = np.argsort(rows)
        columns = {
            path: np.concatenate([observed[path] for _, _, observed in self._next])[order] for path in latest
        }
        return rows[order], columns

    def _row_numbers(self) -> Indices | None:
        """Number, among the slots, of each row; None where every slot is one."""
        if self._rows is None and not self.is_row.all():
            self._rows = np.flatnonzero(self.is_row)
        return self._rows

    def _ended(self, environment: int, step: int) -> bool:
        return bool(self.terminated[environment, step] or self.truncated[environment, step])


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSlots:
    """Columns [T, S, ...] to write a vector step into."""

    observations: Columns
    actions: Columns
    parameters: NDArray[np.float32]
    rewards: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
