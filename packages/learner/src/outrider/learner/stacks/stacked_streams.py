"""Divides the streams of each stacked policy, whole, among its gradient steps, as `StreamParts` does for one.

Axes: S streams of an update, P policies of the stack.
"""

import numpy as np
from numpy.typing import NDArray

from outrider.learner.rows import shuffles
from outrider.learner.stacks.stacked_rows import RowsByPolicy


class StreamsByPolicy:
    """The streams of an update, by policy."""

    def __init__(
        self,
        place_S: NDArray[np.int64],
        length_S: NDArray[np.int64],
        num_rows_P: NDArray[np.int64],
        minibatch_size: int | None,
    ) -> None:
        """`place_S` is the place of each stream's policy, -1 where it does not train."""
        place_S = np.where(length_S > 0, place_S, -1)
        self._order_S = np.argsort(place_S, kind="stable")[np.count_nonzero(place_S < 0) :]
        self._place_S, self._num_streams = place_S[self._order_S], len(place_S)
        self._num_streams_P = np.bincount(self._place_S, minlength=len(num_rows_P))
        self._first_P = self._num_streams_P.cumsum() - self._num_streams_P
        size = max(1, int(num_rows_P.max())) if minibatch_size is None else minibatch_size
        self.num_parts_P = np.minimum(-(-num_rows_P // size), self._num_streams_P)
        """Steps of each policy in a pass over its rows."""

    def parts(
        self, key_P: NDArray[np.uint64], update_P: NDArray[np.int64], epoch_P: int | NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Draw for each stream [S] in which of its policy's steps it takes part; -1 in none."""
        order_PS = shuffles.orders(key_P, update_P, epoch_P, self._num_streams_P)
        rank_PS = np.argsort(order_PS, axis=1)
        within_S = np.arange(len(self._place_S)) - self._first_P[self._place_S]
        rank_S = rank_PS[self._place_S, within_S]
        num_parts_S, num_streams_S = self.num_parts_P[self._place_S], self._num_streams_P[self._place_S]
        # As numpy.array_split does: the first parts have one stream more than the others.
        fewest_S, num_larger_S = np.divmod(num_streams_S, num_parts_S)
        in_larger_S = num_larger_S * (fewest_S + 1)
        part_S = np.where(
            rank_S < in_larger_S,
            rank_S // (fewest_S + 1),
            num_larger_S + (rank_S - in_larger_S) // fewest_S,
        )
        parts = np.full(self._num_streams, -1)
        parts[self._order_S] = part_S
        return parts


def streams_of_block(
    by_policy: RowsByPolicy, place_B: NDArray[np.int64], minibatch_size: int | None
) -> StreamsByPolicy:
    """Return the streams of a block's policies, by their places in the block."""
    place_in_block = np.full(len(by_policy.num_rows_P) + 1, -1)
    place_in_block[place_B] = np.arange(len(place_B))
    return StreamsByPolicy(
        place_in_block[by_policy.place_S],
        by_policy.length_S,
        by_policy.num_rows_P[place_B],
        minibatch_size,
    )
