"""The streams of a block's policies, where these remember.

Axes: B policies of a block; R rows of each, M next observations; S streams of all; E rows of all, stream
after stream. Streams of one policy lie together; its rows have the ranks 0, 1, ... from the first stream to
the last.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.rows.fragment_rows import Rows, places
from outrider.rlmodule import StackedSequences, side_by_side


class BlockStreams(NamedTuple):
    """What follows what within the rows of a block."""

    policy_S: NDArray[np.int64]
    """Whose each stream is, ascending."""
    length_S: NDArray[np.int64]
    """Its rows, one at least."""
    first_S: NDArray[np.int64]
    """Rank of its first row."""
    followed_E: NDArray[np.bool_]
    """The next row is the next step of the same episode."""
    has_next_E: NDArray[np.bool_]
    """What followed the row is an observation that is in no row."""
    state: dict[str, Tensor]
    """[S, ...] before each stream's first row."""

    def ranks(self) -> NDArray[np.int64]:
        """Return the rank of each row [E]."""
        return np.arange(len(self.followed_E)) - np.repeat(
            self.length_S.cumsum() - self.length_S - self.first_S, self.length_S
        )


def block_streams(rows: Rows, place_S: NDArray[np.int64], place_B: NDArray[np.int64]) -> BlockStreams:
    """Find the streams of the policies at `place_B`; `place_S` is that of each stream's policy, or -1."""
    block_of = np.full(max(int(place_S.max()), int(place_B.max())) + 2, -1)
    block_of[place_B] = np.arange(len(place_B))
    policy_S = np.where(rows.length_S > 0, block_of[place_S], -1)
    stream_S = np.argsort(policy_S, kind="stable")[np.count_nonzero(policy_S < 0) :]
    policy_S, length_S = policy_S[stream_S], rows.length_S[stream_S]
    before_S = length_S.cumsum() - length_S
    row_E = places(rows.length_S, stream_S)
    has_next_N = np.zeros(len(rows), np.bool_)
    has_next_N[rows.next_row_M.cpu().numpy()] = True
    stream = torch.from_numpy(stream_S).to(rows.reward_N.device)
    return BlockStreams(
        policy_S=policy_S,
        length_S=length_S,
        first_S=before_S - before_S[np.searchsorted(policy_S, policy_S)],
        followed_E=rows.followed_N.cpu().numpy()[row_E],
        has_next_E=has_next_N[row_E],
        state={name: column.index_select(0, stream) for name, column in rows.state.items()},
    )


def whole_streams(streams: BlockStreams, num_policies: int, num_rows: int, num_next: int) -> StackedSequences:
    """Lay each stream out as one sequence of rows [B, R + M], a next observation where it was seen.

    As `outrider.learner.training.streams` has it for one policy.
    """
    length_S, has_next_E = streams.length_S, streams.has_next_E
    stream_E = np.repeat(np.arange(len(length_S)), length_S)
    policy_E = streams.policy_S[stream_E]
    is_first_E = np.diff(stream_E, prepend=-1) > 0
    num_before_E = has_next_E.cumsum() - has_next_E
    place_E = np.arange(len(stream_E)) + num_before_E
    num_seen = len(stream_E) + np.count_nonzero(has_next_E)
    slot, starts = np.empty(num_seen, np.int64), np.zeros(num_seen, np.bool_)
    slot[place_E] = streams.ranks()
    next_rank_E = num_before_E - num_before_E[np.searchsorted(policy_E, policy_E)]
    slot[place_E[has_next_E] + 1] = num_rows + next_rank_E[has_next_E]
    starts[place_E[1:]] = ~(streams.followed_E[:-1] | is_first_E[1:])
    return side_by_side(
        streams.policy_S,
        length_S + np.bincount(stream_E, has_next_E).astype(np.int64),
        slot,
        starts,
        streams.state,
        num_policies=num_policies,
        num_rows=num_rows + num_next,
    )
