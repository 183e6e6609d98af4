"""The learners that train together, as sums over them."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor


class Ranks(Protocol):
    """What a learner needs of its group: sums, so that shards of any size equal one rank.

    Every rank asks for equally many sums, in the same order, of tensors of the same shape.
    """

    @property
    def rank(self) -> int:
        """Which one this is, from 0."""

    @property
    def size(self) -> int:
        """How many there are."""

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of all ranks' tensors, the same bits on each.

        Takes any dtype on any device and answers in kind; `tensor` may be overwritten.
        """

    def start_sum(self, tensor: Tensor) -> Callable[[], Tensor]:
        """Begin what `sum` does and return at once; the call that is returned waits for the sum.

        Several may be under way. `tensor` must be left alone until then.
        """


class OneRank:
    """A learner alone."""

    rank = 0
    size = 1

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor

    def start_sum(self, tensor: Tensor) -> Callable[[], Tensor]:
        return lambda: tensor


class ApartRank(OneRank):
    """One of several learners that train policies of their own, and so sum nothing."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size


class SilentRank:
    """A rank that computes on rows which another one counts: it adds zeros to every sum."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self.rank, self.size = ranks.rank, ranks.size

    def sum(self, tensor: Tensor) -> Tensor:
        return self._ranks.sum(tensor.zero_())

    def start_sum(self, tensor: Tensor) -> Callable[[], Tensor]:
        return self._ranks.start_sum(tensor.zero_())
