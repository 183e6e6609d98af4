"""Blocks hold policies with similar numbers of rows, and each policy once."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.learner.stacks.blocks import (
    ALWAYS_ALIKE,
    MAX_BYTES,
    MAX_STEP_ROWS,
    MAX_WEIGHT_BYTES,
    cut_blocks,
)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 3000), max_size=60), st.integers(1, 9))
def test_every_policy_with_rows_is_in_one_block_and_at_least_half_of_a_block_is_rows(
    num_rows: list[int], max_policies: int
) -> None:
    num_rows_P = np.array(num_rows, np.int64)
    blocks = cut_blocks(num_rows_P, row_bytes=4, max_policies=max_policies)
    places = np.concatenate([*blocks, np.zeros(0, np.int64)])
    assert sorted(places) == np.flatnonzero(num_rows_P).tolist()
    for block in blocks:
        assert 1 <= len(block) <= max_policies
        assert (np.diff(num_rows_P[block]) <= 0).all()
        most = num_rows_P[block[0]]
        assert most <= ALWAYS_ALIKE or 2 * num_rows_P[block[-1]] >= most


def test_policies_with_equally_many_rows_stay_in_their_order() -> None:
    (block,) = cut_blocks(np.full(5, 7), row_bytes=4)
    assert block.tolist() == [0, 1, 2, 3, 4]


def test_steps_of_many_rows_are_for_fewer_policies() -> None:
    num_rows_P = np.full(9, MAX_STEP_ROWS // 4)
    blocks = cut_blocks(num_rows_P, row_bytes=4)
    assert [block.tolist() for block in blocks] == [[0, 1, 2, 3], [4, 5, 6, 7], [8]]
    assert len(cut_blocks(num_rows_P, row_bytes=4, minibatch_size=MAX_STEP_ROWS // 9)) == 1


def test_padded_bytes_are_bounded_but_a_policy_is_never_cut() -> None:
    blocks = cut_blocks(np.array([1000, 1000, 1000]), row_bytes=MAX_BYTES // 2000)
    assert [block.tolist() for block in blocks] == [[0, 1], [2]]
    assert len(cut_blocks(np.array([1000]), row_bytes=MAX_BYTES)) == 1


def test_without_rows_there_is_no_block() -> None:
    assert cut_blocks(np.zeros(3, np.int64), row_bytes=4) == []


def test_large_policies_are_fewer_to_a_block() -> None:
    blocks = cut_blocks(np.full(3, 4), row_bytes=4, policy_bytes=MAX_WEIGHT_BYTES // 2)
    assert [block.tolist() for block in blocks] == [[0, 1], [2]]
    assert len(cut_blocks(np.full(2, 4), row_bytes=4, policy_bytes=2 * MAX_WEIGHT_BYTES)) == 2
