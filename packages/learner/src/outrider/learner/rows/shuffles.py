"""Orders of rows that depend on nothing but the policy, however it is trained. Axes: P policies, R rows.

A number is drawn for each row by hashing a counter, and rows are sorted by their numbers. So no generator
has to be carried along, and who else is trained makes no difference.
"""

import numpy as np
from numpy.typing import NDArray

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def shuffle_keys(seed: int, number_P: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Return what tells the orders of policies apart, from the learner's seed and their numbers."""
    return _hashed(_hashed(np.uint64(seed & 0xFFFFFFFFFFFFFFFF)) + number_P.astype(np.uint64))


def orders(
    key_P: NDArray[np.uint64],
    update_P: NDArray[np.int64],
    epoch_P: int | NDArray[np.int64],
    num_rows_P: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return a random order [P, R] of each policy's rows 0, 1, ...; what comes after them is padding."""
    draw_P = _hashed(_hashed(key_P + update_P.astype(np.uint64)) + np.asarray(epoch_P).astype(np.uint64))
    row_R = np.arange(num_rows_P.max(initial=0))
    draw_PR = _hashed(draw_P[:, None] + row_R.astype(np.uint64))
    draw_PR >>= np.uint64(1)
    draw_PR[row_R >= num_rows_P[:, None]] = np.iinfo(np.uint64).max
    return np.argsort(draw_PR, axis=1)


def _hashed(number: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """Mix the bits of whole numbers: splitmix64 (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = np.asarray(number, np.uint64) * _STEP + _STEP
        z = (z ^ (z >> np.uint64(30))) * _FIRST
        z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))
