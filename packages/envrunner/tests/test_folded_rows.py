"""Rows are made of what steps brought: who acted, what came of it, and whose row is still open."""

from __future__ import annotations

import numpy as np

from outrider.envrunner.sampling.folded_rows import FoldedRows, fold_rows
from outrider.envrunner.sampling.step_planes import StepPlanes

NOBODY = np.zeros(2, np.bool_)
NOTHING = np.zeros(2, np.float32)


def two_that_take_turns(rewards: list[list[float]]) -> StepPlanes:
    """Red acts in steps 0 and 2, blue in 1 and 3, in one copy."""
    planes = StepPlanes(len(rewards), 1, 2)
    planes.acting_TS[:] = [[step % 2 == 0, step % 2 == 1] for step in range(len(rewards) + 1)]
    planes.rewards_TS[:] = rewards
    return planes


def of(rows: FoldedRows, slot: int) -> list[tuple[int, float, bool]]:
    mine = rows.slots == slot
    columns = (rows.steps[mine], rows.rewards[mine], rows.is_committed[mine])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_rewards_belong_to_the_action_before_them() -> None:
    planes = two_that_take_turns([[1, 0], [2, 10], [4, 20], [8, 40]])
    rows = fold_rows(planes, NOBODY, NOTHING)
    assert of(rows, 0) == [(0, 3.0, True), (2, 12.0, True)]
    assert of(rows, 1) == [(1, 30.0, True), (3, 40.0, False)]
    assert rows.num_lost == 0


def test_a_row_that_travelled_brings_its_rewards() -> None:
    planes = two_that_take_turns([[1, 5]])
    rows = fold_rows(planes, np.array([False, True]), np.array([0, 40], np.float32))
    assert of(rows, 1) == [(-1, 45.0, True)]


def test_what_comes_after_the_end_belongs_to_no_action() -> None:
    planes = two_that_take_turns([[1, 0], [2, 0], [0, 0]])
    planes.acting_TS[2:, 0] = False
    planes.terminated_TS[0, 0] = True
    rows = fold_rows(planes, NOBODY, NOTHING)
    assert of(rows, 0) == [(0, 1.0, True)]
    assert rows.terminated[rows.slots == 0].tolist() == [True]


def test_a_failure_loses_the_open_row_and_cuts_the_one_before() -> None:
    planes = two_that_take_turns([[1, 0], [2, 0], [4, 0]])
    planes.failed_TE[2] = planes.has_failed = True
    rows = fold_rows(planes, NOBODY, NOTHING)
    red = rows.slots == 0
    assert rows.is_committed[red].tolist() == [True, False]
    assert rows.truncated[red].tolist() == [True, False]
    assert rows.num_lost == 2


def test_a_failure_in_the_first_step_cuts_no_row_of_the_copy_before() -> None:
    planes = StepPlanes(1, 2, 1)
    planes.acting_TS[:] = True
    planes.failed_TE[0, 1] = planes.has_failed = True
    rows = fold_rows(planes, NOBODY, NOTHING)
    assert rows.is_committed.tolist() == [True, False]
    assert rows.truncated.tolist() == [False, False]


def test_a_row_that_is_open_when_the_episode_is_over_has_an_end_that_was_forgotten() -> None:
    planes = two_that_take_turns([[1, 0], [2, 0], [4, 0]])
    planes.over_TE[1] = planes.terminated_TS[1, 0] = True
    rows = fold_rows(planes, NOBODY, NOTHING)
    assert (rows.slots[rows.forgotten].tolist(), rows.steps[rows.forgotten].tolist()) == ([1], [1])
    planes.truncated_TS[1, 1] = True
    assert not len(fold_rows(planes, NOBODY, NOTHING).forgotten)
