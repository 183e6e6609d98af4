"""Sequences of the rows of several policies, laid out to be stepped side by side.

Axes: P policies; B rows of each; Q sequences of each; T time; L places; S sequences and N rows of all.

The places of a policy hold first what comes first in each of its sequences, the longest before the others,
then what comes second, and so on:

    sequences of rows 0 1 2 and 3 4      places    0 1    2 3    4        num_running_T    2 2 1
                                         rows      0 3    1 4    2

All policies have places for as many sequences in a step; those that nothing stands at are padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray


class StackedSequences(NamedTuple):
    """Which rows follow each other, and from which state."""

    row_PL: Tensor
    """Which row stands at each place, when [P, B] is flat; the policy's first at padding."""
    is_row_PL: Tensor
    place_PB: Tensor
    """Where each row stands, when [P, L] is flat; the policy's first place for a row of no sequence."""
    is_placed_PB: Tensor
    starts_PL: Tensor
    """Where the state is zeroed before the row."""
    has_start_T: tuple[bool, ...]
    """In which steps it is anywhere."""
    num_running_T: tuple[int, ...]
    """For how many sequences of each policy there are places in each step; L together, and never growing."""
    state: Mapping[str, Tensor]
    """[P, Q, ...] before the first row of each sequence."""

    def steps(self) -> Iterator[tuple[slice, bool]]:
        """Return the places of each step, and whether a state is zeroed before."""
        stop = 0
        for num_running, has_start in zip(self.num_running_T, self.has_start_T, strict=True):
            start, stop = stop, stop + num_running
            yield slice(start, stop), has_start

    def in_places(self, rows: Tensor) -> Tensor:
        """Bring rows [P, B, ...] to their places [P, L, ...]."""
        return _take(rows, self.row_PL)

    def in_rows(self, places: Tensor) -> Tensor:
        """Bring places [P, L, ...] into the order of rows [P, B, ...]."""
        return _take(places, self.place_PB)


def side_by_side(
    policy_S: NDArray[np.int64],
    length_S: NDArray[np.int64],
    row_N: NDArray[np.int64],
    starts_N: NDArray[np.bool_],
    state: Mapping[str, Tensor],
    *,
    num_policies: int,
    num_rows: int,
) -> StackedSequences:
    """Lay out sequences that have a row each at least.

    `row_N` are the rows of one sequence after the other, each a number from 0 to `num_rows` of its policy;
    `state` {name: [S, ...]} is that before each sequence, on the device where it is needed.
    """
    order_S = np.lexsort((-length_S, policy_S))
    first_P = np.searchsorted(policy_S[order_S], np.arange(num_policies))
    rank_S = np.empty(len(order_S), np.int64)
    rank_S[order_S] = np.arange(len(order_S)) - first_P[policy_S[order_S]]
    longest_Q = np.zeros(rank_S.max() + 1, np.int64)
    np.maximum.at(longest_Q, rank_S, length_S)
    num_running_T = (longest_Q > np.arange(longest_Q[0])[:, None]).sum(1)
    before_T = num_running_T.cumsum() - num_running_T
    num_places = int(num_running_T.sum())

    time_N = np.arange(len(row_N)) - np.repeat(length_S.cumsum() - length_S, length_S)
    policy_N, place_N = np.repeat(policy_S, length_S), before_T[time_N] + np.repeat(rank_S, length_S)
    row_PL = np.repeat(np.arange(num_policies)[:, None] * num_rows, num_places, 1)
    place_PB = np.repeat(np.arange(num_policies)[:, None] * num_places, num_rows, 1)
    is_row_PL, starts_PL = np.zeros((2, *row_PL.shape), np.bool_)
    is_placed_PB = np.zeros(place_PB.shape, np.bool_)
    row_PL[policy_N, place_N] = policy_N * num_rows + row_N
    place_PB[policy_N, row_N] = policy_N * num_places + place_N
    is_row_PL[policy_N, place_N] = is_placed_PB[policy_N, row_N] = True
    starts_PL[policy_N, place_N] = starts_N
    device = next(iter(state.values())).device

    def on_device(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(device)

    return StackedSequences(
        row_PL=on_device(row_PL),
        is_row_PL=on_device(is_row_PL),
        place_PB=on_device(place_PB),
        is_placed_PB=on_device(is_placed_PB),
        starts_PL=on_device(starts_PL),
        has_start_T=tuple(np.logical_or.reduceat(starts_PL.any(0), before_T).tolist()),
        num_running_T=tuple(num_running_T.tolist()),
        state=_by_policy(state, on_device(policy_S * len(longest_Q) + rank_S), num_policies, len(longest_Q)),
    )


def _by_policy(
    state: Mapping[str, Tensor], place_S: Tensor, num_policies: int, num_sequences: int
) -> dict[str, Tensor]:
    """Return states [P, Q, ...]; zeros at padding, where another's might not be a number."""
    placed = {}
    for name, column in state.items():
        zeros = column.new_zeros((num_policies * num_sequences, *column.shape[1:]))
        flat = zeros.index_copy(0, place_S, column)
        placed[name] = flat.view(num_policies, num_sequences, *column.shape[1:])
    return placed


def unroll_by_steps(
    step: Callable[[Mapping[str, Tensor], dict[str, Tensor]], tuple[Tensor, Tensor, dict[str, Tensor]]],
    observations: Mapping[str, Tensor],
    sequences: StackedSequences,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Walk policies through sequences one step at a time; see `Policy.unroll`."""
    placed = {path: sequences.in_places(column) for path, column in observations.items()}
    state = dict(sequences.state)
    outputs = []
    for places, _ in sequences.steps():
        starts = sequences.starts_PL[:, places]
        state = {name: _zeroed(column[:, : starts.shape[1]], starts) for name, column in state.items()}
        outputs.append(step({path: column[:, places] for path, column in placed.items()}, state))
        state = outputs[-1][2]
    parameters = torch.cat([output[0] for output in outputs], 1)
    values = torch.cat([output[1] for output in outputs], 1)
    states = {name: torch.cat([output[2][name] for output in outputs], 1) for name in state}
    return sequences.in_rows(parameters), sequences.in_rows(values), states


def _zeroed(column: Tensor, starts: Tensor) -> Tensor:
    """Overwrite and not multiply: a state that is not a number ends here too."""
    return column.masked_fill(starts.reshape(*starts.shape, *[1] * (column.dim() - 2)), 0)


def _take(column: Tensor, index: Tensor) -> Tensor:
    return column.flatten(0, 1).index_select(0, index.flatten()).view(*index.shape, *column.shape[2:])
