"""Keeps batches so that each is used several times, spread over the updates after it came in."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class CircularBuffer(Generic[T]):
    """Gives every batch the same number of uses.

        put      1     2     3     4     5     6
        used     1     2     3 1   4 2   5 3   6 4       4 batches, 2 uses of each

    Use j of k falls `floor(j * num_batches / k)` puts after the batch came in. So updates are of equal
    length from then on, and nothing is displaced before its last use. Luo et al. 2020
    (arXiv 1912.00167), section 3.2, where workers and learner take turns at their own speeds.
    """

    def __init__(self, num_batches: int, num_uses: int) -> None:
        self._num_uses_by_age = num_uses_by_age(num_batches, num_uses)
        self._newest_first: deque[T] = deque(maxlen=len(self._num_uses_by_age))

    def __len__(self) -> int:
        return len(self._newest_first)

    def __iter__(self) -> Iterator[T]:
        return iter(self._newest_first)

    def put(self, batch: T) -> list[T]:
        """Take `batch` in and return what is to be used now, as often as it stands there, newest first."""
        self._newest_first.appendleft(batch)
        pairs = zip(self._newest_first, self._num_uses_by_age, strict=False)
        return [kept for kept, num_uses in pairs for _ in range(num_uses)]


def num_uses_by_age(num_batches: int, num_uses: int) -> list[int]:
    """Return how often a batch is used when it comes in, one put later, and so on.

    >>> num_uses_by_age(4, 2)
    [1, 0, 1]
    """
    ages = [use * num_batches // num_uses for use in range(num_uses)]
    return [ages.count(age) for age in range(ages[-1] + 1)]
