from __future__ import annotations

from outrider.transport.chunk_size import PROOF_BYTES, PROOF_S, SMALL_CHUNK_BYTES, ChunkSize
from outrider.wire.stream import MAX_CHUNK_BYTES

NUM_SMALL = PROOF_BYTES // SMALL_CHUNK_BYTES


class Line:
    """Takes chunks, as fast as `bytes_per_s` says."""

    def __init__(self) -> None:
        self.now = 0.0
        self._size = ChunkSize(lambda: self.now)

    def carry(self, num_chunks: int, bytes_per_s: float) -> list[int]:
        found = []
        for _ in range(num_chunks):
            found.append(self._size(2**40))
            self.now += found[-1] / bytes_per_s
        return found


def test_chunks_are_large_as_soon_as_a_line_has_shown_that_it_is_fast() -> None:
    assert Line().carry(NUM_SMALL + 5, 1e9) == [SMALL_CHUNK_BYTES] * NUM_SMALL + [MAX_CHUNK_BYTES] * 5


def test_chunks_stay_small_on_a_slow_line() -> None:
    assert set(Line().carry(5 * NUM_SMALL, 60 * 2**10)) == {SMALL_CHUNK_BYTES}


def test_chunks_are_small_once_the_line_is_slow_and_large_once_it_is_fast_again() -> None:
    line = Line()
    line.carry(NUM_SMALL, 1e9)
    assert line.carry(4, PROOF_BYTES / PROOF_S / 1.1) == 2 * [MAX_CHUNK_BYTES] + 2 * [SMALL_CHUNK_BYTES]
    assert line.carry(NUM_SMALL, 1e9)[-1] == MAX_CHUNK_BYTES


def test_what_a_buffer_hides_of_a_slow_line_does_not_make_it_fast() -> None:
    line = Line()
    line.carry(NUM_SMALL // 2, 1e9)
    assert set(line.carry(2 * NUM_SMALL, 60 * 2**10)) == {SMALL_CHUNK_BYTES}


def test_many_small_messages_are_not_taken_for_large_ones() -> None:
    size = ChunkSize(lambda: 0.0)
    assert {size(1000) for _ in range(2 * NUM_SMALL)} == {SMALL_CHUNK_BYTES}
    assert [size(2**40) for _ in range(NUM_SMALL)][-1] == MAX_CHUNK_BYTES
