"""Every batch is used equally often, whatever the sizes."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.learner.rows.circular_buffer import CircularBuffer


def test_two_uses_of_four_batches_are_two_puts_apart() -> None:
    buffer: CircularBuffer[int] = CircularBuffer(4, 2)
    assert [buffer.put(batch) for batch in range(1, 7)] == [[1], [2], [3, 1], [4, 2], [5, 3], [6, 4]]


@pytest.mark.parametrize(("num_batches", "num_uses"), [(1, 3), (2, 4), (5, 1)])
def test_a_fresh_batch_is_always_used(num_batches: int, num_uses: int) -> None:
    buffer: CircularBuffer[int] = CircularBuffer(num_batches, num_uses)
    assert [buffer.put(batch)[0] for batch in range(5)] == list(range(5))


@settings(deadline=None, derandomize=True)
@given(num_batches=st.integers(1, 9), num_uses=st.integers(1, 9))
def test_every_batch_is_used_as_often_as_asked_for(num_batches: int, num_uses: int) -> None:
    buffer: CircularBuffer[int] = CircularBuffer(num_batches, num_uses)
    uses = Counter(batch for put in range(40) for batch in buffer.put(put))
    assert {uses[batch] for batch in range(30)} == {num_uses}


@settings(deadline=None, derandomize=True)
@given(num_batches=st.integers(1, 9), num_uses=st.integers(1, 9))
def test_updates_are_of_equal_length_once_the_buffer_is_full(num_batches: int, num_uses: int) -> None:
    buffer: CircularBuffer[int] = CircularBuffer(num_batches, num_uses)
    lengths = [len(buffer.put(put)) for put in range(30)]
    assert set(lengths[num_batches - 1 :]) == {num_uses}
    assert len(buffer) <= num_batches
