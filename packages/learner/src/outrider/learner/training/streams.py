"""Whole streams, for losses that look along them. Axes: N rows, M next observations, S streams, T time.

Rows and next observations go through the module together, [N + M]. A recurrent module gets each stream as
one sequence, in which a next observation stands where it was seen:

    stream of rows 0 1 2 3, of which 1 was truncated and 3 is the last

    row_QT       0  1  next of 1  2  3  next of 3
    starts_QT    .  .  .          x  .  .

It starts from the state that the runner recorded. That state is as old as the weights that acted, as in
Espeholt et al. 2018; PPO walks its streams anew, but does so once for many passes, where here the walk
would cost as much as the one pass that it is for.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.ranks import Ranks
from outrider.learner.rows.fragment_rows import Rows, heard, take_streams
from outrider.learner.rows.row_orders import RowOrders
from outrider.learner.rows.sequences import SequenceBatch, sequence_rows, starts_in_sequences
from outrider.learner.training.gae import next_values
from outrider.rlmodule import Policy


class StreamOutputs(NamedTuple):
    """What a module says of whole streams."""

    parameters: Tensor
    """[N, k]"""
    value_N: Tensor
    next_value_N: Tensor
    """Of what really followed, without gradient; 0 where the episode terminated."""


def forward_streams(policy: Policy, rows: Rows) -> StreamOutputs:
    """Evaluate all rows and what followed them, in one pass."""
    observations = {
        path: torch.cat((column, rows.next_observations[path])) for path, column in rows.observations.items()
    }
    if policy.is_recurrent:
        sequences = whole_streams(rows)
        outputs, values = sequences.forward(policy, sequences.observations(observations))
    else:
        outputs, values = policy(observations)
    num_rows = len(rows)
    value_N, value_M = values[:num_rows], values[num_rows:].detach()
    return StreamOutputs(
        parameters=outputs[:num_rows],
        value_N=value_N,
        next_value_N=next_values(value_N.detach(), rows.followed_N, rows.next_row_M, value_M),
    )


def whole_streams(rows: Rows) -> SequenceBatch:
    """Lay each stream out as one sequence of rows and, numbered from N, next observations."""
    device, num_rows, num_next = rows.reward_N.device, len(rows), len(rows.next_row_M)
    # Where rows and next observations stand when all are put in the order in which they were seen.
    has_next_N = torch.zeros(num_rows, dtype=torch.int64, device=device)
    has_next_N[rows.next_row_M] = 1
    place_N = torch.arange(num_rows, device=device) + has_next_N.cumsum(0) - has_next_N
    place = torch.cat((place_N, place_N[rows.next_row_M] + 1))
    seen = torch.empty(num_rows + num_next, dtype=torch.int64, device=device)
    seen[place] = torch.arange(num_rows + num_next, device=device)
    goes_on = torch.cat((rows.followed_N | has_next_N.bool(), rows.followed_N.new_zeros(num_next)))

    length_S = rows.length_S + rows.num_next_S
    place_QT, valid_QT, length_Q = sequence_rows(length_S, max(1, int(length_S.max())))
    is_used_S = torch.from_numpy(np.flatnonzero(length_S)).to(device)
    row_QT = seen[torch.from_numpy(place_QT).to(device)]
    slot_of_place = np.arange(length_Q.sum()) + np.repeat(_padding_before(length_Q), length_Q)
    return SequenceBatch(
        row_QT=row_QT,
        starts_QT=starts_in_sequences(goes_on, row_QT, torch.from_numpy(valid_QT).to(device)),
        state={name: column.index_select(0, is_used_S) for name, column in rows.state.items()},
        row_B=torch.arange(num_rows + num_next, device=device),
        slot_B=torch.from_numpy(slot_of_place).to(device)[place],
    )


def _padding_before(length_Q: NDArray[np.int64]) -> NDArray[np.int64]:
    padding_Q: NDArray[np.int64] = length_Q.max(initial=0) - length_Q
    return padding_Q.cumsum() - padding_Q


class StreamParts:
    """Divides an update's streams, whole, among gradient steps that all ranks take together."""

    def __init__(self, rows: Rows, minibatch_size: int | None, ranks: Ranks) -> None:
        self.rows, self.ranks = rows, heard(ranks, rows)
        self._stream_S = np.flatnonzero(rows.length_S)
        counts = torch.zeros(ranks.size, 2, dtype=torch.int64)
        counts[ranks.rank] = torch.tensor([len(rows), len(self._stream_S)])
        counts = self.ranks.sum(counts)
        self.num_rows = int(counts[:, 0].sum())
        """Over all ranks."""
        size = self.num_rows if minibatch_size is None else minibatch_size * ranks.size
        # No rank may be left without a stream, since modules need something to run on.
        num_streams = int(counts[counts[:, 0] > 0, 1].min())
        self.num_parts = min(-(-self.num_rows // size), num_streams)

    def shuffled(self, orders: RowOrders) -> list[tuple[Rows, int]]:
        """Draw an order; return each part's rows of this rank, and their number over all ranks."""
        if self.num_parts == 1:
            orders.skip()
            return [(self.rows, self.num_rows)]
        order = orders.draw(len(self._stream_S)).numpy()
        parts = [np.sort(part) for part in np.array_split(self._stream_S[order], self.num_parts)]
        counts = self.ranks.sum(torch.tensor([int(self.rows.length_S[part].sum()) for part in parts]))
        return [(take_streams(self.rows, p), n) for p, n in zip(parts, counts.tolist(), strict=True)]
