"""Rows that stacked policies use again. Axes: P policies of the stack, S streams of an update."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from outrider.learner.rows.circular_buffer import num_uses_by_age
from outrider.learner.rows.fragment_rows import Rows, take_streams
from outrider.learner.stacks.stacked_rows import RowsByPolicy

NOBODY = -1
"""Number of no policy."""


class Batch(NamedTuple):
    """Rows of one update that are used now."""

    by_policy: RowsByPolicy
    age_P: NDArray[np.int64]
    """How many updates ago they came in, of those that each policy took part in."""
    num_uses_P: NDArray[np.int64]


class StackedBuffer:
    """Gives every policy's rows as many uses, spread over its own updates, as `CircularBuffer` says.

    A policy that is missing or frozen in an update neither uses rows nor lets any grow older. Of updates most
    of which is used up, the rest is kept alone.
    """

    def __init__(self, num_batches: int, num_uses: int) -> None:
        self._num_uses_by_age = np.array([*num_uses_by_age(num_batches, num_uses), 0])
        self._last = len(self._num_uses_by_age) - 1
        self._newest_first: list[Rows] = []

    def put(
        self,
        rows: Rows,
        place_S: NDArray[np.int64],
        places_of: Callable[[Rows], NDArray[np.int64]],
        num_policies: int,
    ) -> list[Batch]:
        """Take `rows` in, which stay the caller's to write to, and return what is used now, newest first.

        `place_S` is the place of each stream's policy, -1 for one that does not train now; `places_of` says
        where policies are today whose rows came earlier, -1 for one that was removed.
        """
        place_S = np.where(rows.length_S > 0, place_S, -1)
        trains_P = _has_any(place_S, num_policies)
        age_P = trains_P.astype(np.int64)
        batches = [
            _batch(rows, place_S, np.zeros_like(age_P), self._num_uses(np.zeros_like(age_P), trains_P))
        ]
        kept = [_of_those_who_train(rows, place_S)]
        for old in self._newest_first:
            place_S = np.where(old.length_S > 0, places_of(old), -1)
            is_wanted_S = (place_S >= 0) & (age_P < self._last)[place_S]
            if not is_wanted_S.any():
                continue
            kept.append(self._smaller(old, is_wanted_S))
            has_rows_P = _has_any(place_S, num_policies)
            batches.append(_batch(old, place_S, age_P, self._num_uses(age_P, trains_P & has_rows_P)))
            age_P = age_P + has_rows_P
        self._newest_first = kept
        return batches

    def forget(self) -> None:
        """Drop everything."""
        self._newest_first = []

    def forget_policy(self, number: int) -> None:
        """Drop the rows of one policy."""
        others = [np.flatnonzero(rows.stream_key_S[:, 0] != number) for rows in self._newest_first]
        pairs = zip(self._newest_first, others, strict=True)
        self._newest_first = [take_streams(rows, stream_S) for rows, stream_S in pairs if len(stream_S)]

    def take_policy(self, number: int) -> list[Rows]:
        """Give away the rows of one policy, newest first."""
        own = [
            np.flatnonzero((rows.stream_key_S[:, 0] == number) & (rows.length_S > 0))
            for rows in self._newest_first
        ]
        pairs = zip(self._newest_first, own, strict=True)
        taken = [take_streams(rows, stream_S) for rows, stream_S in pairs if len(stream_S)]
        self.forget_policy(number)
        return taken

    def put_earlier(self, newest_first: list[Rows]) -> None:
        """Take in earlier rows of a policy that has none here."""
        self._newest_first = newest_first + self._newest_first

    def _num_uses(self, age_P: NDArray[np.int64], trains_P: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.where(trains_P, self._num_uses_by_age[np.minimum(age_P, self._last)], 0)

    def _smaller(self, rows: Rows, is_wanted_S: NDArray[np.bool_]) -> Rows:
        if 2 * rows.length_S[is_wanted_S].sum() > len(rows):
            return rows
        return take_streams(rows, np.flatnonzero(is_wanted_S))


def _of_those_who_train(rows: Rows, place_S: NDArray[np.int64]) -> Rows:
    """Return the same rows, in which streams of the others are nobody's: who is frozen keeps none."""
    key_S = rows.stream_key_S.copy()
    key_S[place_S < 0, 0] = NOBODY
    return replace(rows, stream_key_S=key_S)


def _has_any(place_S: NDArray[np.int64], num_policies: int) -> NDArray[np.bool_]:
    return np.bincount(place_S[place_S >= 0], minlength=num_policies) > 0


def _batch(
    rows: Rows, place_S: NDArray[np.int64], age_P: NDArray[np.int64], num_uses_P: NDArray[np.int64]
) -> Batch:
    is_used_S = (place_S >= 0) & (num_uses_P > 0)[place_S]
    by_policy = RowsByPolicy(rows, np.where(is_used_S, place_S, -1), len(age_P))
    return Batch(by_policy, age_P, num_uses_P)
