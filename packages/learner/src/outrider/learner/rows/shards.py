"""Deals the streams of an update's fragments to learner ranks. Free of torch."""

from collections.abc import Sequence
from typing import NamedTuple


class Shard(NamedTuple):
    """Some streams of one fragment. A plain tuple to whoever reads it elsewhere."""

    fragment: int
    """Number of the fragment within the update."""
    first: int
    stop: int
    """Streams `first` to `stop` - 1 of it."""


def deal_streams(num_streams: Sequence[int], num_ranks: int) -> list[list[Shard]]:
    """Return each rank's shards of fragments with so many streams.

    Ranks get neighbouring streams, and their numbers differ by at most one. The same fragments are dealt
    alike in every update, so that what a rank remembers of a stream (returns that normalise rewards) stays
    with it. Raises ValueError where a rank would get none.

    >>> [[tuple(shard) for shard in shards] for shards in deal_streams([3, 2], 2)]
    [[(0, 0, 2)], [(0, 2, 3), (1, 0, 2)]]
    """
    total = sum(num_streams)
    if num_ranks > total:
        raise ValueError(
            f"{num_ranks} learners cannot share the {total} streams of an update; set num_learners to "
            f"at most {total}, or raise num_env_runners or num_envs_per_env_runner"
        )
    bounds = [rank * total // num_ranks for rank in range(num_ranks + 1)]
    ranks: list[list[Shard]] = [[] for _ in range(num_ranks)]
    begin = 0
    for fragment, count in enumerate(num_streams):
        end = begin + count
        for rank in range(num_ranks):
            first, stop = max(begin, bounds[rank]), min(end, bounds[rank + 1])
            if first < stop:
                ranks[rank].append(Shard(fragment, first - begin, stop - begin))
        begin = end
    return ranks
