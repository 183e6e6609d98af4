"""The rows of many policies as dense arrays. Axes: N rows and S streams of an update, P policies.

Of a block: B policies, R rows of each, M next observations of each, padded.

    policy 0 has 3 rows, policy 1 has 2        row_BR      0 1 2          is_row_BR    x x x
                                                           3 4 4                       x x .

Padding repeats the last row of its policy, and its first row among next observations, so that it is harmless
to compute; losses and statistics leave it out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.rows.fragment_rows import Rows, places
from outrider.learner.stacks.block_streams import BlockStreams, block_streams, whole_streams
from outrider.learner.training.gae import next_values
from outrider.rlmodule import StackedSequences


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockRows:
    """The rows of a block's policies."""

    num_rows_B: NDArray[np.int64]
    """On the CPU."""
    row_BR: Tensor
    """Number of each row within the update."""
    is_row_BR: Tensor
    observations: dict[str, Tensor]
    """[B, R + M, ...]: rows, then what followed those that another row of the update does not follow."""
    actions: dict[str, Tensor]
    reward_BR: Tensor
    terminated_BR: Tensor
    followed_BR: Tensor
    log_prob_BR: Tensor
    parameters: Tensor | None
    """[B, R, k] of the acting policies; None where a fragment has none."""
    next_place: Tensor
    """[next observations] where the row stands that each followed, when [B, R] is flat."""
    next_slot: Tensor
    """[next observations] where its value stands, when [B, R + M] is flat."""
    streams: BlockStreams | None
    """None where policies do not remember."""
    sequences: StackedSequences | None
    """The streams as sequences of `observations`; None likewise."""

    @property
    def width(self) -> int:
        """R."""
        return self.is_row_BR.shape[1]

    def mean(self, number_BR: Tensor) -> Tensor:
        """Average over the rows of each policy [B]."""
        return torch.where(self.is_row_BR, number_BR, 0.0).sum(1) / self.is_row_BR.sum(1)

    def next_values(self, value_BS: Tensor) -> Tensor:
        """Return what followed each row is worth [B, R], from values [B, R + M]."""
        value_BR = value_BS[:, : self.width]
        return next_values(
            value_BR, self.followed_BR, self.next_place, value_BS.flatten().index_select(0, self.next_slot)
        )


class RowsByPolicy:
    """The rows of an update, found by policy."""

    def __init__(self, rows: Rows, place_S: NDArray[np.int64], num_policies: int) -> None:
        """Sort streams by `place_S`, the place of each one's policy; -1 leaves it out."""
        self._rows, self.place_S, self.length_S = rows, place_S, rows.length_S
        self.first_bad = rows.first_bad
        order_S = np.argsort(place_S, kind="stable")
        order_S = order_S[np.searchsorted(place_S[order_S], 0) :]
        place_S = place_S[order_S]
        self.row_N = places(rows.length_S, order_S)
        """Number of each row within the update, policy after policy."""
        self._next_M = places(rows.num_next_S, order_S)
        self.num_rows_P = _sums(place_S, rows.length_S[order_S], num_policies)
        self._num_next_P = _sums(place_S, rows.num_next_S[order_S], num_policies)
        self.first_P = self.num_rows_P.cumsum() - self.num_rows_P
        """Where in `row_N` each policy begins."""
        self._first_next_P = self._num_next_P.cumsum() - self._num_next_P
        self._rank_N = np.empty(len(rows), np.int64)
        self._rank_N[self.row_N] = np.arange(len(self.row_N)) - np.repeat(self.first_P, self.num_rows_P)
        self._next_row_M = rows.next_row_M.cpu().numpy()

    def of_streams(self, is_taken_S: NDArray[np.bool_]) -> "RowsByPolicy":
        """Leave out the other streams."""
        return RowsByPolicy(self._rows, np.where(is_taken_S, self.place_S, -1), len(self.num_rows_P))

    def streams(self, place_B: NDArray[np.int64]) -> BlockStreams | None:
        """Find the streams of the policies at `place_B`; None where these do not remember."""
        return block_streams(self._rows, self.place_S, place_B) if self._rows.state else None

    def block(self, place_B: NDArray[np.int64]) -> BlockRows:
        """Gather the rows of the policies at `place_B`."""
        rows, num_rows_B, num_next_B = self._rows, self.num_rows_P[place_B], self._num_next_P[place_B]
        device = rows.reward_N.device
        column_R = np.arange(num_rows_B.max())
        row_BR = self.row_N[self.first_P[place_B][:, None] + np.minimum(column_R, num_rows_B[:, None] - 1)]
        column_M = np.arange(num_next_B.max())
        next_BM = self._first_next_P[place_B][:, None] + column_M
        next_BM = self._next_M[np.minimum(next_BM, len(self._next_M) - 1)]
        policy, slot = np.nonzero(column_M < num_next_B[:, None])
        padded, padded_slot = np.nonzero(column_M >= num_next_B[:, None])
        width = len(column_R)
        rank = self._rank_N[self._next_row_M[next_BM[policy, slot]]]
        row, next_ = torch.from_numpy(row_BR).to(device), torch.from_numpy(next_BM).to(device)
        streams = self.streams(place_B)
        padding = torch.from_numpy(padded).to(device), torch.from_numpy(width + padded_slot).to(device)

        def seen(column: Tensor, next_column: Tensor) -> Tensor:
            joined = torch.cat((at(column, row), at(next_column, next_)), 1)
            # Not what another policy saw: were it no number, gradients of 0 times it would be none either.
            joined[padding] = joined[padding[0], 0]
            return joined

        return BlockRows(
            num_rows_B=num_rows_B,
            row_BR=row,
            is_row_BR=torch.from_numpy(column_R < num_rows_B[:, None]).to(device),
            observations={
                path: seen(column, rows.next_observations[path]) for path, column in rows.observations.items()
            },
            actions={path: at(column, row) for path, column in rows.actions.items()},
            reward_BR=at(rows.reward_N, row),
            terminated_BR=at(rows.terminated_N, row),
            followed_BR=at(rows.followed_N, row),
            log_prob_BR=at(rows.log_prob_N, row),
            parameters=None if rows.parameters is None else at(rows.parameters, row),
            next_place=torch.from_numpy(policy * width + rank).to(device),
            next_slot=torch.from_numpy(policy * (width + len(column_M)) + width + slot).to(device),
            streams=streams,
            sequences=None if streams is None else whole_streams(streams, len(place_B), width, len(column_M)),
        )


def at(column: Tensor, row: Tensor) -> Tensor:
    """Gather rows of a column [N, ...] in the shape of `row`, whose shape replaces N."""
    return column.index_select(0, row.flatten()).view(*row.shape, *column.shape[1:])


def row_bytes(columns: Mapping[str, Tensor]) -> int:
    """Return how much memory a row of all columns [N, ...] takes."""
    return sum(column[:1].nbytes for column in columns.values())


def _sums(place_S: NDArray[np.int64], number_S: NDArray[np.int64], num_places: int) -> NDArray[np.int64]:
    return np.bincount(place_S, number_S, num_places).astype(np.int64)
