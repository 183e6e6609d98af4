"""Minibatches: the rows of an update in random order. Axes: N rows, B rows of a minibatch, Q sequences."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from outrider.learner.rows import Rows
from outrider.learner.sequences import SequenceBatch, Sequences


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
    """Some rows; one gradient step."""

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


@dataclass(kw_only=True)
class MinibatchSource:
    """Cuts the rows of an update into minibatches, anew for each epoch.

    Recurrent modules get whole sequences, so that their minibatches differ in rows.
    """

    rows: Rows
    targets: Targets
    sequences: Sequences | None
    needs_parameters: bool
    _packed: Tensor = field(init=False)

    def __post_init__(self) -> None:
        # One gather for four columns; [4, N], so that each comes out contiguous.
        self._packed = torch.stack(
            (
                self.rows.log_prob_N,
                self.targets.advantage_N,
                self.targets.value_N,
                self.targets.value_target_N,
            )
        )

    def shuffle(self, num_minibatches: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw an order and cut it into parts whose sizes differ by at most one item (row or sequence)."""
        num_items = len(self.rows) if self.sequences is None else len(self.sequences)
        order = torch.randperm(num_items, generator=generator)
        return torch.tensor_split(order.to(self._packed.device), num_minibatches)

    def num_rows(self, parts: tuple[Tensor, ...]) -> list[int]:
        """Count the rows of each part."""
        if self.sequences is None:
            return [len(part) for part in parts]
        return self.sequences.num_rows(parts)

    def take(self, parts: tuple[Tensor, ...]) -> Iterator[Minibatch]:
        """Gather one minibatch after the other."""
        for part in parts:
            if self.sequences is None:
                row_B, batch, observed = part, None, part
            else:
                batch = self.sequences.take(part)
                row_B, observed = batch.row_B, batch.row_QT
            log_prob_B, advantage_B, value_B, value_target_B = self._packed.index_select(1, row_B).unbind()
            yield Minibatch(
                observations={path: leaf[observed] for path, leaf in self.rows.observations.items()}
                if batch is not None
                else {path: leaf.index_select(0, row_B) for path, leaf in self.rows.observations.items()},
                sequences=batch,
                actions={path: leaf.index_select(0, row_B) for path, leaf in self.rows.actions.items()},
                log_prob_B=log_prob_B,
                advantage_B=advantage_B,
                value_B=value_B,
                value_target_B=value_target_B,
                parameters=self.targets.parameters.index_select(0, row_B) if self.needs_parameters else None,
            )
