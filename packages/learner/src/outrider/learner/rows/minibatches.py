"""Minibatches: the rows of an update in random order. Axes: N rows, B rows of a minibatch, Q sequences."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from outrider.learner.ranks import Ranks
from outrider.learner.rows.fragment_rows import Rows
from outrider.learner.rows.row_orders import RowOrders
from outrider.learner.rows.sequences import SequenceBatch, Sequences
from outrider.rlmodule import Policy


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """What the losses compare with, fixed during an update."""

    advantage_N: Tensor
    value_N: Tensor
    """Before the update."""
    value_target_N: Tensor
    parameters: Tensor
    """[N, k] of the acting policy."""


class Minibatch(NamedTuple):
    """Some rows of this rank for one gradient step of all ranks."""

    observations: dict[str, Tensor]
    """[B, ...], or [Q, T, ...] with `sequences`."""
    sequences: SequenceBatch | None
    actions: dict[str, Tensor]
    log_prob_B: Tensor
    advantage_B: Tensor
    value_B: Tensor
    value_target_B: Tensor
    parameters: Tensor | None
    """[B, k] of the acting policy; None where no loss needs it."""
    num_rows: int
    """Over all ranks."""

    def forward(self, policy: Policy) -> tuple[Tensor, Tensor]:
        """Return the policy's action parameters [B, k] and values [B] of these rows."""
        if self.sequences is None:
            parameters, value_B = policy(self.observations)
            return parameters, value_B
        return self.sequences.forward(policy, self.observations)


@dataclass(kw_only=True)
class MinibatchSource:
    """Cuts the rows of an update into minibatches, anew for each epoch.

    Recurrent modules get whole sequences, so that their minibatches differ in rows.
    """

    rows: Rows
    targets: Targets
    sequences: Sequences | None
    needs_parameters: bool
    ranks: Ranks
    num_rows: int = field(init=False)
    """Over all ranks."""

    def __post_init__(self) -> None:
        rows, targets = self.rows, self.targets
        self._num_items = len(rows) if self.sequences is None else len(self.sequences)
        total = self.ranks.sum(torch.tensor([len(rows), self._num_items]))
        self.num_rows, self._num_items_of_all = int(total[0]), int(total[1])
        self.take_targets(targets)

    def take_targets(self, targets: Targets) -> None:
        """Compare with other advantages and targets of values from the next epoch on."""
        # One gather for four columns; [4, N], so that each comes out contiguous.
        columns = (
            self.rows.log_prob_N,
            targets.advantage_N,
            self.targets.value_N,
            targets.value_target_N,
        )
        self._columns = torch.stack(columns)

    def num_minibatches(self, minibatch_size: int) -> int:
        """Return how many minibatches of at most that many rows a rank needs, were all ranks alike."""
        wanted = math.ceil(self.num_rows / (minibatch_size * self.ranks.size))
        return max(1, min(wanted, self._num_items_of_all // self.ranks.size))

    def epoch(self, num_minibatches: int, orders: RowOrders) -> Iterator[Minibatch]:
        """Draw an order and gather minibatches, whose sizes differ by at most one row or sequence."""
        order = orders.draw(self._num_items)
        parts = torch.tensor_split(order, num_minibatches)
        sizes = [len(part) for part in parts] if self.sequences is None else self.sequences.num_rows(parts)
        counts = self.ranks.sum(torch.tensor(sizes)).tolist()
        for part, count in zip(parts, counts, strict=True):
            yield self._take(part.to(self._columns.device), max(count, 1))

    def _take(self, part: Tensor, num_rows: int) -> Minibatch:
        sequences = None if self.sequences is None else self.sequences.take(part)
        row_B = part if sequences is None else sequences.row_B
        log_prob_B, advantage_B, value_B, value_target_B = self._columns.index_select(1, row_B).unbind()
        observations = (
            _rows(self.rows.observations, row_B)
            if sequences is None
            else sequences.observations(self.rows.observations)
        )
        return Minibatch(
            observations=observations,
            sequences=sequences,
            actions=_rows(self.rows.actions, row_B),
            log_prob_B=log_prob_B,
            advantage_B=advantage_B,
            value_B=value_B,
            value_target_B=value_target_B,
            parameters=self.targets.parameters.index_select(0, row_B) if self.needs_parameters else None,
            num_rows=num_rows,
        )


def _rows(columns: dict[str, Tensor], row_B: Tensor) -> dict[str, Tensor]:
    return {path: column.index_select(0, row_B) for path, column in columns.items()}
