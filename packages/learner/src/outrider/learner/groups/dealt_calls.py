"""What each rank is handed of fragments, as arguments of a call, and answers. Free of torch and Ray."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol, TypeAlias

from outrider.learner.groups.rank_error import LostObjectError, LostRankError
from outrider.learner.plans.sharing import SHARED_ROWS, Sharing
from outrider.transport import FragmentReference

Answer: TypeAlias = dict[str, Any]
"""Of a rank, to a call by name."""


class HeldFragment(FragmentReference, Protocol):
    """A fragment that processes of ranks can fetch."""

    @property
    def ref(self) -> Any:  # noqa: ANN401 - of whatever holds it
        """Where it lies."""
        ...


def deal(
    held: Sequence[HeldFragment],
    sharing: Sharing,
    num_ranks: int,
    *staleness: int,
    without: Collection[Any] = (),
) -> list[list[Any]]:
    """Return for each rank the arguments of its call: shards, what else there is, the shards' fragments.

    Fragments `without` are left out, by reference; the others go to whom they would.
    """
    dealt = []
    for shards in sharing.deal([each.summary.num_streams for each in held], num_ranks):
        left = [shard for shard in shards if held[shard.fragment].ref not in without]
        used = sorted({shard.fragment for shard in left})
        plain = [(used.index(shard.fragment), shard.first, shard.stop) for shard in left]
        dealt.append([plain, *staleness, *(held[number].ref for number in used)])
    return dealt


def rest_of(
    held: Sequence[HeldFragment],
    there: Sequence[HeldFragment],
    sharing: Sharing,
    num_ranks: int,
    *staleness: int,
    error: LostObjectError,
) -> list[Any]:
    """Return what `deal` returns of a rank that could not begin, of those fragments that are there.

    Raises LostRankError where it cannot train on less than the others know of, which wait for it in a sum.
    """
    gone = {each.ref for each in held} - {each.ref for each in there}
    rest = deal(held, sharing, num_ranks, *staleness, without=gone)[error.rank]
    if sharing is not SHARED_ROWS or not rest[0]:
        raise LostRankError(f"{error}, and others wait for it in a sum", rank=error.rank) from error
    return rest


class LostFragments:
    """Fragments that went with the node that held them."""

    def __init__(self) -> None:
        self.refs: set[Any] = set()
        self._missed: set[tuple[int, Any]] = set()
        """Which rank could not begin for want of which."""

    def count(self, held: Sequence[HeldFragment], there: Sequence[HeldFragment]) -> int:
        """Note those that are no longer there; return their rows, of each once, whoever misses it."""
        known = {each.ref for each in there} | self.refs
        lost = [each for each in held if each.ref not in known]
        self.refs.update(each.ref for each in lost)
        return num_rows_of(lost)

    def count_missed(
        self, error: LostObjectError, held: Sequence[HeldFragment], there: Sequence[HeldFragment]
    ) -> int:
        """Count what a rank cannot fetch that could not begin.

        Raises LostRankError where it lacks nothing more than before: what is found and lost again would be
        looked for without end, and how often a rank may be lost is bounded.
        """
        gone = {each.ref for each in held} - {each.ref for each in there}
        missed = {(error.rank, ref) for ref in gone} - self._missed
        if not missed:
            raise LostRankError(f"{error}, and was found again", rank=error.rank) from error
        self._missed |= missed
        return self.count(held, there)


def num_rows_of(fragments: Sequence[FragmentReference]) -> int:
    """Return the rows of all."""
    return sum(each.summary.num_rows for each in fragments)
