"""What the module said before an update: values, parameters and recurrent states of all rows.

Axes: N rows, M next observations, S streams.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from outrider.learner.rows.fragment_rows import Rows
from outrider.learner.rows.sequences import Sequences, sequence_rows, starts_in_sequences
from outrider.rlmodule import Policy

MAX_CHUNK_NUMBERS = 1 << 23
"""Observation numbers in one forward pass: 297 frames of 4 x 84 x 84, a million rows of 8."""


class Estimates(NamedTuple):
    """Of the module before the update, without gradient."""

    parameters: Tensor
    """[N, k]"""
    value_N: Tensor
    value_of_next_observation_M: Tensor
    sequences: Sequences | None
    """For recurrent modules."""

    def first_bad(self) -> str | None:
        """Name what is not finite, if anything."""
        for name, numbers in (("action parameters", self.parameters), ("value predictions", self.value_N)):
            # A sum is finite only if all terms are; it can overflow, so a doubt is looked into.
            if not numbers.sum().isfinite() and not numbers.isfinite().all():
                return f"the module's {name} became {numbers[~numbers.isfinite()][0].item()}"
        return None


@torch.no_grad()
def estimate(policy: Policy, rows: Rows, *, max_seq_len: int) -> Estimates:
    """Evaluate all rows and all next observations once."""
    if policy.is_recurrent:
        return _walk(policy, rows, max_seq_len)
    parameters, value_N = _forward(policy, rows.observations, len(rows))
    value_M = value_N[:0]
    if len(rows.next_row_M):
        value_M = _forward(policy, rows.next_observations, len(rows.next_row_M))[1]
    return Estimates(parameters, value_N, value_M, None)


def _forward(policy: Policy, observations: dict[str, Tensor], num_rows: int) -> tuple[Tensor, Tensor]:
    numbers_per_row = sum(leaf[0].numel() for leaf in observations.values())
    num_chunks = -(-num_rows * numbers_per_row // MAX_CHUNK_NUMBERS)
    if num_chunks <= 1:
        parameters, values = policy(observations)
        return parameters, values
    chunks = zip(*(leaf.tensor_split(num_chunks) for leaf in observations.values()), strict=True)
    outputs = [policy(dict(zip(observations, chunk, strict=True))) for chunk in chunks]
    return torch.cat([output[0] for output in outputs]), torch.cat([output[1] for output in outputs])


def _walk(policy: Policy, rows: Rows, max_seq_len: int) -> Estimates:
    """Step all streams abreast through time, keeping the states that sequences start from.

    States are thus those of the module before the update, not those that older weights left behind.
    Streams are taken longest first, so that those that go on are always the first ones.
    """
    device = rows.reward_N.device
    order_S = np.argsort(-rows.length_S, kind="stable")
    length_S = rows.length_S[order_S]
    first_S = torch.from_numpy((np.cumsum(rows.length_S) - rows.length_S)[order_S]).to(device)
    order = torch.from_numpy(order_S).to(device)
    state = {name: column.index_select(0, order) for name, column in rows.state.items()}
    row_QT, valid_QT, length_Q = sequence_rows(rows.length_S, max_seq_len)
    sequence_of_row = torch.full((len(rows),), -1, device=device)
    rows_QT = torch.from_numpy(row_QT).to(device)
    sequence_of_row[rows_QT[:, 0]] = torch.arange(len(row_QT), device=device)
    start_state = {name: column.new_zeros((len(row_QT), *column.shape[1:])) for name, column in state.items()}
    next_of_row = torch.full((len(rows),), -1, device=device)
    next_of_row[rows.next_row_M] = torch.arange(len(rows.next_row_M), device=device)
    value_M = rows.reward_N.new_zeros(len(rows.next_row_M))
    value_N = torch.zeros_like(rows.reward_N)
    parameters: Tensor | None = None
    for t in range(int(length_S[0])):
        row = first_S[: int((length_S > t).sum())] + t
        state = {name: column[: len(row)] for name, column in state.items()}
        if t % max_seq_len == 0:
            for name, column in state.items():
                start_state[name][sequence_of_row[row]] = column
        step_parameters, step_value, state = policy.step(_at(rows.observations, row), state)
        if parameters is None:
            parameters = step_parameters.new_zeros((len(rows), step_parameters.shape[1]))
        parameters[row] = step_parameters
        value_N[row] = step_value
        has_next = (next_of_row[row] >= 0).nonzero().squeeze(1)
        if len(has_next):
            index = next_of_row[row[has_next]]
            state_after = {name: column[has_next] for name, column in state.items()}
            value_M[index] = policy.step(_at(rows.next_observations, index), state_after)[1]
        ended = ~rows.followed_N[row]
        state = {
            name: column.masked_fill(ended.reshape(-1, *[1] * (column.dim() - 1)), 0)
            for name, column in state.items()
        }
    assert parameters is not None
    valid = torch.from_numpy(valid_QT).to(device)
    sequences = Sequences(
        row_QT=rows_QT,
        valid_QT=valid,
        starts_QT=starts_in_sequences(rows.followed_N, rows_QT, valid),
        length_Q=torch.from_numpy(length_Q),
        state=start_state,
    )
    return Estimates(parameters, value_N, value_M, sequences)


def _at(columns: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    return {path: column.index_select(0, index) for path, column in columns.items()}
