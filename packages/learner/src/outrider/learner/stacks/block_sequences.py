"""The streams of a block as the sequences that PPO trains on, where policies remember.

Axes: B policies of a block; R rows of each; Q sequences of all; I sequences of each in a minibatch; W rows of
each in a minibatch; E rows of all in a minibatch, sequence after sequence; L places.

As `outrider.learner.rows.sequences` has it for one policy, a stream is cut every `max_seq_len` rows, and each
piece begins with the state that the policy had there before the update.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.stacks.block_streams import BlockStreams
from outrider.rlmodule import StackedSequences, side_by_side


class ChosenRows(NamedTuple):
    """The rows of some sequences of each policy."""

    row_BW: NDArray[np.int64]
    """Their ranks; padding repeats the last one of its policy."""
    num_rows_B: NDArray[np.int64]
    sequences: StackedSequences
    """Of rows [B, W]."""


class BlockSequences:
    """All sequences of a block."""

    def __init__(
        self,
        streams: BlockStreams,
        whole: StackedSequences,
        states: Mapping[str, Tensor],
        *,
        max_seq_len: int,
        num_rows_B: NDArray[np.int64],
    ) -> None:
        """`states` {name: [B, L, ...]} are those after each place of `whole`, the streams of the block."""
        num_S = num_pieces(streams, max_seq_len)
        stream_Q = np.repeat(np.arange(len(num_S)), num_S)
        start_Q = max_seq_len * (np.arange(len(stream_Q)) - np.repeat(num_S.cumsum() - num_S, num_S))
        self._policy_Q = streams.policy_S[stream_Q]
        self._first_Q = streams.first_S[stream_Q] + start_Q
        self._length_Q = np.minimum(streams.length_S[stream_Q] - start_Q, max_seq_len)
        self._num_rows_B = num_rows_B
        self.num_sequences_B = np.bincount(self._policy_Q, minlength=len(num_rows_B))
        """Of each policy."""
        self._before_B = self.num_sequences_B.cumsum() - self.num_sequences_B
        self._followed_BR = np.zeros((len(num_rows_B), int(num_rows_B.max())), np.bool_)
        policy_E = np.repeat(streams.policy_S, streams.length_S)
        self._followed_BR[policy_E, streams.ranks()] = streams.followed_E
        self._state = self._states_before(streams, stream_Q, start_Q > 0, whole, states)

    def all(self) -> StackedSequences:
        """Return all sequences, of rows [B, R]."""
        sequence_Q, (num_policies, num_rows) = np.arange(len(self._policy_Q)), self._followed_BR.shape
        row_E = self._rows_of(sequence_Q)
        return self._lay_out(sequence_Q, row_E, row_E, num_policies, num_rows)

    def choose(self, item_BI: NDArray[np.int64], num_items_B: NDArray[np.int64]) -> ChosenRows:
        """Gather the rows of some sequences of the first policies.

        Those of a policy have the numbers 0, 1, ...; of each the first `num_items_B` of `item_BI` are taken.
        """
        policy, item = np.nonzero(np.arange(item_BI.shape[1]) < num_items_B[:, None])
        sequence_Q = self._before_B[policy] + item_BI[policy, item]
        row_E = self._rows_of(sequence_Q)
        num_rows_B = np.bincount(policy, self._length_Q[sequence_Q], len(item_BI)).astype(np.int64)
        before_B = num_rows_B.cumsum() - num_rows_B
        place_BW = before_B[:, None] + np.minimum(np.arange(num_rows_B.max()), num_rows_B[:, None] - 1)
        slot_E = np.arange(len(row_E)) - np.repeat(before_B, num_rows_B)
        return ChosenRows(
            row_E[place_BW], num_rows_B, self._lay_out(sequence_Q, row_E, slot_E, *place_BW.shape)
        )

    def _rows_of(self, sequence_Q: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ranks of the rows [E] of some sequences."""
        length_Q = self._length_Q[sequence_Q]
        before_Q = length_Q.cumsum() - length_Q
        row_E: NDArray[np.int64] = np.repeat(self._first_Q[sequence_Q] - before_Q, length_Q)
        row_E += np.arange(len(row_E))
        return row_E

    def _lay_out(
        self,
        sequence_Q: NDArray[np.int64],
        row_E: NDArray[np.int64],
        slot_E: NDArray[np.int64],
        num_policies: int,
        num_rows: int,
    ) -> StackedSequences:
        """Put sequences of these rows side by side, of which each policy has `num_rows`."""
        policy_Q, length_Q = self._policy_Q[sequence_Q], self._length_Q[sequence_Q]
        starts_E = ~self._followed_BR[np.repeat(policy_Q, length_Q), row_E - 1]
        starts_E[length_Q.cumsum() - length_Q] = False
        sequence = torch.from_numpy(sequence_Q).to(next(iter(self._state.values())).device)
        return side_by_side(
            policy_Q,
            length_Q,
            slot_E,
            starts_E,
            {name: column.index_select(0, sequence) for name, column in self._state.items()},
            num_policies=num_policies,
            num_rows=num_rows,
        )

    def _states_before(
        self,
        streams: BlockStreams,
        stream_Q: NDArray[np.int64],
        is_cut_Q: NDArray[np.bool_],
        whole: StackedSequences,
        states: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Return the state before each sequence [Q, ...]: the stream's, or what the row before left."""
        device = whole.place_PB.device
        stream, cut = (torch.from_numpy(at).to(device) for at in (stream_Q, np.flatnonzero(is_cut_Q)))
        before = {name: column.index_select(0, stream) for name, column in streams.state.items()}
        if not len(cut):
            return before
        policy_C, row_C = self._policy_Q[is_cut_Q], self._first_Q[is_cut_Q] - 1
        place_C = whole.place_PB[torch.from_numpy(policy_C), torch.from_numpy(row_C)]
        ended_C = torch.from_numpy(~self._followed_BR[policy_C, row_C]).to(device)
        for name, column in before.items():
            left = states[name].flatten(0, 1).index_select(0, place_C)
            left = left.masked_fill(ended_C.reshape(-1, *[1] * (left.dim() - 1)), 0)
            before[name] = column.index_copy(0, cut, left)
        return before


def num_pieces(streams: BlockStreams, max_seq_len: int) -> NDArray[np.int64]:
    """Count the sequences of each stream [S]."""
    return -(-streams.length_S // max_seq_len)
