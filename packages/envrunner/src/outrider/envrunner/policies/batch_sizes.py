"""Sizes of batches whose number of rows changes from step to step, so that few are ever computed.

Memory is reserved and bound once for each size, which takes longer than a small network does.
"""

from __future__ import annotations

_MOST_EXACT = 4
"""Numbers of rows that are computed as they are: where nobody comes and goes there are no more."""
_SMALL = 16


class BatchSizes:
    """Rounds numbers of rows up: by an eighth at most, and not at all while there are few of them."""

    def __init__(self) -> None:
        """Nothing has been computed yet."""
        self._exact: set[int] = set()

    def at_least(self, num_rows: int) -> int:
        """Return the size to compute `num_rows` rows in."""
        if num_rows in self._exact:
            return num_rows
        if len(self._exact) < _MOST_EXACT:
            self._exact.add(num_rows)
            return num_rows
        return rounded_up(num_rows)


def rounded_up(num_rows: int) -> int:
    """Return one of eight sizes between each power of two and the next, or the number itself up to 16."""
    if num_rows <= _SMALL:
        return num_rows
    step = 1 << (num_rows.bit_length() - 4)
    return -(-num_rows // step) * step
