"""Cuts the rows of a block into minibatches. Axes: B policies of a block, R rows of each, W of a minibatch.

Each policy's rows are cut as those of a learner of its own would be: into the smallest number of minibatches
of at most so many rows, whose sizes differ by one. Where policies remember, whole sequences are dealt to as
many minibatches, whose numbers of sequences differ by one. Policies that have fewer minibatches than others
rest in the later ones. They stand at the end, so that those at work are always the first ones.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.rows import shuffles
from outrider.learner.stacks.block_sequences import BlockSequences
from outrider.learner.stacks.stacked_rows import BlockRows, at
from outrider.rlmodule import StackedSequences


class StackedTargets(NamedTuple):
    """What the losses compare with, [B, R] each, fixed during an update."""

    advantage_BR: Tensor
    value_BR: Tensor
    """Before the update."""
    value_target_BR: Tensor
    parameters: Tensor | None
    """[B, R, k] of the acting policies; None where no loss needs them."""


class StackedMinibatch(NamedTuple):
    """Some rows [W] of the first policies [B] of a block, for a gradient step of each."""

    observations: dict[str, Tensor]
    actions: dict[str, Tensor]
    log_prob_B: Tensor
    advantage_B: Tensor
    value_B: Tensor
    value_target_B: Tensor
    parameters: Tensor | None
    num_rows: Tensor
    """[B] without padding."""
    is_row_BW: Tensor | None
    """None where all are."""
    sequences: StackedSequences | None
    """Of the rows; None where policies do not remember."""

    def mean(self, number_BW: Tensor) -> Tensor:
        """Average over the rows of each policy."""
        if self.is_row_BW is None:
            return number_BW.mean(-1)
        return (number_BW * self.is_row_BW).sum(-1) / self.num_rows


class StackedMinibatchSource:
    """Draws the minibatches of an update anew for each epoch."""

    def __init__(
        self,
        rows: BlockRows,
        targets: StackedTargets,
        sequences: BlockSequences | None,
        *,
        minibatch_size: int,
        shuffle_key_B: NDArray[np.uint64],
        update_B: NDArray[np.int64],
    ) -> None:
        """Policies must come with most minibatches first."""
        self._rows, self._targets, self._sequences = rows, targets, sequences
        num_items_B = rows.num_rows_B if sequences is None else sequences.num_sequences_B
        self._num_items_B = num_items_B
        self._num_minibatches_B = num_minibatches(rows.num_rows_B, num_items_B, minibatch_size)
        self._all = None if sequences is None else sequences.all()
        self._shuffle_key_B, self._update_B = shuffle_key_B, update_B
        self.take_targets(targets)
        self._observations = {path: leaf[:, : rows.width] for path, leaf in rows.observations.items()}

    def take_targets(self, targets: StackedTargets) -> None:
        """Compare with other advantages and targets of values from the next epoch on."""
        columns = (
            self._rows.log_prob_BR,
            targets.advantage_BR,
            self._targets.value_BR,
            targets.value_target_BR,
        )
        self._columns = torch.stack(columns, -1)

    def epoch(self, epoch: int) -> Iterator[StackedMinibatch]:
        """Pass over all rows of each policy once."""
        num_items_B, num_minibatches = self._num_items_B, int(self._num_minibatches_B.max())
        if num_minibatches == 1:  # The order of rows does not matter.
            yield self._take(None, self._rows.num_rows_B, self._all)
            return
        order_BI = shuffles.orders(self._shuffle_key_B, self._update_B, epoch, num_items_B)
        for number in range(num_minibatches):
            num_policies = int((self._num_minibatches_B > number).sum())
            size_B, rest_B = np.divmod(num_items_B[:num_policies], self._num_minibatches_B[:num_policies])
            start_B = number * size_B + np.minimum(number, rest_B)
            size_B = size_B + (number < rest_B)
            slot_BI = start_B[:, None] + np.minimum(np.arange(size_B.max()), size_B[:, None] - 1)
            item_BI = np.take_along_axis(order_BI[:num_policies], slot_BI, 1)
            if self._sequences is None:
                yield self._take(item_BI, size_B, None)
            else:
                yield self._take(*self._sequences.choose(item_BI, size_B))

    def _take(
        self,
        row_BW: NDArray[np.int64] | None,
        size_B: NDArray[np.int64],
        sequences: StackedSequences | None,
    ) -> StackedMinibatch:
        device = self._columns.device
        place = None
        if row_BW is not None:
            place = torch.from_numpy(row_BW + self._rows.width * np.arange(len(row_BW))[:, None]).to(device)
        num_slots = self._rows.width if place is None else place.shape[1]

        def take(column: Tensor) -> Tensor:
            return column if place is None else at(column.flatten(0, 1), place)

        def take_leaves(leaves: dict[str, Tensor]) -> dict[str, Tensor]:
            return {path: take(leaf) for path, leaf in leaves.items()}

        is_row_BW = np.arange(num_slots) < size_B[:, None]
        log_prob_B, advantage_B, value_B, value_target_B = take(self._columns).unbind(-1)
        parameters = self._targets.parameters
        return StackedMinibatch(
            observations=take_leaves(self._observations),
            actions=take_leaves(self._rows.actions),
            log_prob_B=log_prob_B,
            advantage_B=advantage_B,
            value_B=value_B,
            value_target_B=value_target_B,
            parameters=None if parameters is None else take(parameters),
            num_rows=torch.from_numpy(size_B).to(device),
            is_row_BW=None if is_row_BW.all() else torch.from_numpy(is_row_BW).to(device),
            sequences=sequences,
        )


def num_minibatches(
    num_rows_B: NDArray[np.int64], num_items_B: NDArray[np.int64], minibatch_size: int
) -> NDArray[np.int64]:
    """Return into how many minibatches [B] rows are cut that come as so many items: rows or sequences."""
    return np.minimum(-(-num_rows_B // minibatch_size), num_items_B)
