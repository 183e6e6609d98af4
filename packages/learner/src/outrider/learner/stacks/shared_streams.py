"""A learner of one policy that trains on its share of the policy's streams, together with other ranks.

all ranks are handed the same rows:   stream 0   1   2   3   4
this one takes                        rank   0   0   1   1   1

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from outrider.learner.learner import Learner, Loaded, StateTree
from outrider.learner.ranks import Ranks
from outrider.learner.rows.fragment_rows import Rows
from outrider.learner.rows.shards import deal_streams
from outrider.wire import Fragment, Weights, take_streams


class SharedStreams:
    """Obeys `Learner`, out of one that sums over the same ranks.

    Where there are fewer streams than ranks, rank 0 takes all of them, and the others compute on the same and
    say nothing, so that all take its steps.
    """

    def __init__(self, learner: Learner, ranks: Ranks) -> None:
        """The learner belongs to this object from then on."""
        self._learner = learner
        self._ranks = ranks

    def load(self, fragments: Sequence[Fragment]) -> Loaded:
        own = own_streams(fragments, self._ranks.rank, self._ranks.size)
        rows: Rows = self._learner.load(fragments if own is None else own)
        return replace(rows, is_silent=own is None and self._ranks.rank > 0)

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        return self.update_rows(self.load(fragments))

    def update_rows(self, rows: Loaded) -> dict[str, float]:
        return self._learner.update_rows(rows)

    def publish(self) -> Weights:
        return self._learner.publish()

    def get_state(self) -> StateTree:
        return self._learner.get_state()

    def set_state(self, state: StateTree) -> None:
        self._learner.set_state(state)


def own_streams(fragments: Sequence[Fragment], rank: int, num_ranks: int) -> list[Fragment] | None:
    """Return the streams of one rank, which have rows; None where there are too few to go round."""
    filled = [np.flatnonzero(fragment.streams.lengths) for fragment in fragments]
    if sum(map(len, filled)) < num_ranks:
        return None
    shards = deal_streams([len(streams) for streams in filled], num_ranks)[rank]
    return [
        take_streams(fragments[number], int(filled[number][first]), int(filled[number][stop - 1]) + 1)
        for number, first, stop in shards
    ]
