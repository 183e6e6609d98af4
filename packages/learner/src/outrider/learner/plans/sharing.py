"""What the ranks of a group share out: the rows of an update, or the policies. Free of torch and Ray.

                         SHARED_ROWS                        SHARED_POLICIES
    a rank trains        everything, on some streams        its own policies, on all their streams
    ranks sum            every gradient                     nothing
    who knows the whole  rank 0                             all ranks together
    a rank has beside    its own generator and the like     nothing

SHARED_POLICY_ROWS is SHARED_ROWS with several policies: a rank finds its streams of each policy itself.

Whatever else a group of ranks does is the same for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from outrider.learner.learner import StateTree
from outrider.learner.plans.policy_slices import (
    join_states,
    join_weights,
    part_of_rank,
    rank_of,
    state_of_rank,
)
from outrider.learner.plans.rank_state import for_all, part_for
from outrider.learner.rows.shards import Shard, deal_streams
from outrider.learner.stacks.stack_metrics import over_stacks
from outrider.wire import Fragment, Weights, take_streams


class Sharing(Protocol):
    """Who gets what, and how what ranks have becomes one again."""

    def holders(self, num_ranks: int) -> range:
        """Return the ranks whose weights, metrics and states are joined to those of the group."""
        ...

    def owners(self, number: int, num_ranks: int) -> range:
        """Return the ranks that have a policy."""
        ...

    def min_num_streams(self, num_ranks: int) -> int:
        """Return how many streams an update has at least."""
        ...

    def deal(self, num_streams: Sequence[int], num_ranks: int) -> list[list[Shard]]:
        """Return what each rank is handed of fragments with so many streams. Raises ValueError."""
        ...

    def take(self, fragment: Fragment, first: int, stop: int, *, rank: int, num_ranks: int) -> Fragment:
        """Return the rows that a rank trains on, of a shard that it was handed."""
        ...

    def join_weights(self, parts: Sequence[Weights]) -> Weights:
        """Return the group's weights from those of the holders."""
        ...

    def join_metrics(self, parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Return the group's metrics from those of the holders."""
        ...

    def join_states(self, parts: Sequence[StateTree]) -> StateTree:
        """Return what the group goes on from, from the states of the holders."""
        ...

    def deal_state(self, state: StateTree, num_ranks: int) -> tuple[StateTree, list[StateTree]]:
        """Return what all ranks get of a group's state, and what each gets beside that."""
        ...


class _SharedRows:
    def holders(self, num_ranks: int) -> range:
        return range(1)

    def owners(self, number: int, num_ranks: int) -> range:
        return range(num_ranks)

    def min_num_streams(self, num_ranks: int) -> int:
        return num_ranks

    def deal(self, num_streams: Sequence[int], num_ranks: int) -> list[list[Shard]]:
        return deal_streams(num_streams, num_ranks)

    def take(self, fragment: Fragment, first: int, stop: int, *, rank: int, num_ranks: int) -> Fragment:
        return take_streams(fragment, first, stop)

    def join_weights(self, parts: Sequence[Weights]) -> Weights:
        return parts[0]

    def join_metrics(self, parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return dict(parts[0])

    def join_states(self, parts: Sequence[StateTree]) -> StateTree:
        return parts[0]

    def deal_state(self, state: StateTree, num_ranks: int) -> tuple[StateTree, list[StateTree]]:
        return for_all(state), [part_for(state, rank) for rank in range(num_ranks)]


class _SharedPolicyRows(_SharedRows):
    def min_num_streams(self, num_ranks: int) -> int:
        return 1

    def deal(self, num_streams: Sequence[int], num_ranks: int) -> list[list[Shard]]:
        """Hand everything to everyone: each knows what the others take."""
        return _everything(num_streams, num_ranks)

    def take(self, fragment: Fragment, first: int, stop: int, *, rank: int, num_ranks: int) -> Fragment:
        """Take everything: which streams of a policy are whose is known once they lie together."""
        return fragment


class _SharedPolicies:
    def holders(self, num_ranks: int) -> range:
        return range(num_ranks)

    def owners(self, number: int, num_ranks: int) -> range:
        rank = rank_of(number, num_ranks)
        return range(rank, rank + 1)

    def min_num_streams(self, num_ranks: int) -> int:
        return 1

    def deal(self, num_streams: Sequence[int], num_ranks: int) -> list[list[Shard]]:
        """Hand everything to everyone: nobody knows here whose rows are in a fragment."""
        return _everything(num_streams, num_ranks)

    def take(self, fragment: Fragment, first: int, stop: int, *, rank: int, num_ranks: int) -> Fragment:
        return part_of_rank(fragment, rank, num_ranks)

    def join_weights(self, parts: Sequence[Weights]) -> Weights:
        return join_weights(parts)

    def join_metrics(self, parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Average over rows; ranks work side by side, so that of seconds the most counts."""
        seconds = {name for each in parts for name in each if name.endswith("_s")}
        return over_stacks(parts) | {name: max(each.get(name, 0.0) for each in parts) for name in seconds}

    def join_states(self, parts: Sequence[StateTree]) -> StateTree:
        return join_states(parts)

    def deal_state(self, state: StateTree, num_ranks: int) -> tuple[StateTree, list[StateTree]]:
        return {}, [state_of_rank(for_all(state), rank, num_ranks) for rank in range(num_ranks)]


def _everything(num_streams: Sequence[int], num_ranks: int) -> list[list[Shard]]:
    return [[Shard(number, 0, count) for number, count in enumerate(num_streams)]] * num_ranks


SHARED_ROWS: Sharing = _SharedRows()
SHARED_POLICY_ROWS: Sharing = _SharedPolicyRows()
SHARED_POLICIES: Sharing = _SharedPolicies()
