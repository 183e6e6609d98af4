"""What each rank is handed of fragments, as arguments of a call. Free of torch and Ray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from outrider.learner.groups.sharing import Sharing
from outrider.transport import FragmentReference


class HeldFragment(FragmentReference, Protocol):
    """A fragment that processes of ranks can fetch."""

    @property
    def ref(self) -> Any:  # noqa: ANN401 - of whatever holds it
        """Where it lies."""
        ...


def deal(held: Sequence[HeldFragment], sharing: Sharing, num_ranks: int, *staleness: int) -> list[list[Any]]:
    """Return for each rank the arguments of its call: shards, what else there is, the shards' fragments."""
    dealt = []
    for shards in sharing.deal([each.summary.num_streams for each in held], num_ranks):
        used = sorted({shard.fragment for shard in shards})
        plain = [(used.index(shard.fragment), shard.first, shard.stop) for shard in shards]
        dealt.append([plain, *staleness, *(held[number].ref for number in used)])
    return dealt


def num_rows_of(fragments: Sequence[FragmentReference]) -> int:
    """Return the rows of all."""
    return sum(each.summary.num_rows for each in fragments)
