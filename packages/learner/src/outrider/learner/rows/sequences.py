"""Streams as sequences for recurrent modules. Axes: N rows, S streams, Q sequences, T time within one.

A stream is cut every `max_seq_len` rows; the last piece may be shorter, and so is padded:

    stream of 7 rows, max_seq_len 3        row_QT           valid_QT      starts_QT
    an episode ends at row 1               0 1 2            x x x         . . x
                                           3 4 5            x x x         . . .
                                           6 6 6            x . .         . . .

Padding repeats a real row, so that it is harmless to compute, and is dropped before any loss.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.rlmodule import Policy


class SequenceBatch(NamedTuple):
    """Some sequences, padded to one length, and their rows without padding."""

    row_QT: Tensor
    starts_QT: Tensor
    """An episode starts at this row: the state before it is zero."""
    state: dict[str, Tensor]
    """[Q, ...] before each sequence's first row."""
    row_B: Tensor
    """[B] rows that are no padding, in the order of row_QT."""
    slot_B: Tensor
    """[B] where they stand in row_QT when that is flat."""

    def observations(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gather [Q, T, ...] of columns [N, ...]."""
        return {path: column[self.row_QT] for path, column in columns.items()}

    def forward(self, policy: Policy, observations: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the policy's action parameters [B, k] and values [B], padding dropped."""
        parameters, values = policy.forward_sequence(observations, self.state, self.starts_QT)
        parameters, value_N = parameters.flatten(0, 1), values.flatten()
        return parameters.index_select(0, self.slot_B), value_N.index_select(0, self.slot_B)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequences:
    """All sequences of an update."""

    row_QT: Tensor
    valid_QT: Tensor
    starts_QT: Tensor
    length_Q: Tensor
    """On the CPU."""
    state: Mapping[str, Tensor]
    """[Q, ...] before each sequence's first row, as the module before the update makes it."""

    def __len__(self) -> int:
        return len(self.row_QT)

    def num_rows(self, parts: tuple[Tensor, ...]) -> list[int]:
        """Count the rows of each part (on the CPU), padding not counted."""
        return [int(self.length_Q[part].sum()) for part in parts]

    def take(self, sequence_Q: Tensor) -> SequenceBatch:
        """Gather the sequences of these numbers.

        Of no sequences, it is one whose rows are all padding, since modules need something to run on.
        """
        valid_QT = self.valid_QT.index_select(0, sequence_Q)
        if not len(sequence_Q):
            sequence_Q = sequence_Q.new_zeros(1)
            valid_QT = torch.zeros_like(self.valid_QT[:1])
        row_QT = self.row_QT.index_select(0, sequence_Q)
        slot_B = valid_QT.flatten().nonzero().squeeze(1)
        return SequenceBatch(
            row_QT=row_QT,
            starts_QT=self.starts_QT.index_select(0, sequence_Q),
            state={name: rows.index_select(0, sequence_Q) for name, rows in self.state.items()},
            row_B=row_QT.flatten().index_select(0, slot_B),
            slot_B=slot_B,
        )


def sequence_rows(
    length_S: NDArray[np.int64], max_seq_len: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Return row_QT, valid_QT and the length of each sequence, streams in order.

    >>> sequence_rows(np.array([3]), 2)[0].tolist()
    [[0, 1], [2, 2]]
    """
    num_S = -(-length_S // max_seq_len)
    stream_Q = np.repeat(np.arange(len(length_S)), num_S)
    piece_Q = np.arange(len(stream_Q)) - np.repeat(np.cumsum(num_S) - num_S, num_S)
    first_Q = (np.cumsum(length_S) - length_S)[stream_Q] + piece_Q * max_seq_len
    length_Q = np.minimum(length_S[stream_Q] - piece_Q * max_seq_len, max_seq_len)
    time_T = np.arange(length_Q.max(initial=0))
    valid_QT = time_T < length_Q[:, None]
    row_QT = first_Q[:, None] + np.minimum(time_T, length_Q[:, None] - 1)
    return row_QT, valid_QT, length_Q


def starts_in_sequences(followed_N: Tensor, row_QT: Tensor, valid_QT: Tensor) -> Tensor:
    """Mark the rows before which the state is zeroed, within a sequence.

    The first row of a sequence is never marked: the state that is kept for it is already right.
    """
    starts_QT = torch.zeros_like(valid_QT)
    starts_QT[:, 1:] = ~followed_N[row_QT[:, :-1]] & valid_QT[:, 1:]
    return starts_QT
