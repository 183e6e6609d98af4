"""Fragments as tensors: the rows of one update. Axes: N rows, M rows with a next observation, S streams."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from outrider.learner.ranks import Ranks, SilentRank
from outrider.rlmodule import CRITIC_PATH
from outrider.wire import Columns, Fragment, Streams


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The rows of all fragments of an update, on the learner's device."""

    observations: dict[str, Tensor]
    """[N, ...] by leaf path; what only a central critic sees is under CRITIC_PATH."""
    actions: dict[str, Tensor]
    """[N, ...] by leaf path."""
    reward_N: Tensor
    terminated_N: Tensor
    truncated_N: Tensor
    followed_N: Tensor
    """The next row is the next step of the same episode."""
    log_prob_N: Tensor
    """Under the acting policy."""
    parameters: Tensor | None
    """[N, k] the acting policy's; None where a fragment has none."""
    next_row_M: Tensor
    next_observations: dict[str, Tensor]
    """[M, ...] by leaf path."""
    length_S: NDArray[np.int64]
    """Rows of each stream, on the CPU."""
    num_next_S: NDArray[np.int64]
    """Next observations of each stream, on the CPU; they stand in the order of the streams."""
    stream_key_S: NDArray[np.int32]
    """[S, 3] policy number, environment copy and agent slot of each stream, on the CPU."""
    state: dict[str, Tensor]
    """[S, ...] recurrent state before each stream's first row."""
    first_bad: str | None
    """Which column holds a number that is not finite, where from and what to do; None if none does."""
    is_silent: bool = False
    """Whether another rank has these rows too, and counts them."""
    gather_s: float = 0.0
    """Seconds that checking and joining took."""
    loaded: torch.cuda.Event | None = None
    """Happens when the copies to a GPU are done; None where nothing has to be waited for."""

    def __len__(self) -> int:
        return len(self.reward_N)


def rows_from_fragments(fragments: Sequence[Fragment], device: torch.device) -> Rows:
    """Join fragments, whose arrays are shared and not copied where one fragment on the CPU allows it.

    Raises ValueError for fragments that break the rules of `outrider.wire.Fragment`.
    """
    began = time.perf_counter()
    if not fragments or not sum(fragment.num_rows for fragment in fragments):
        raise ValueError("an update got no rows; give it at least one fragment with at least one row")
    if any(fragment.others for fragment in fragments):
        raise ValueError(
            "a fragment has rows of policies of other architectures, and this learner trains one; "
            "give it to a `MultiAgentLearner`, which deals them out"
        )
    offsets = np.cumsum([0, *(fragment.num_rows for fragment in fragments)])
    length_S = np.concatenate([fragment.streams.lengths for fragment in fragments])
    terminated_N = np.concatenate([fragment.terminated for fragment in fragments])
    truncated_N = np.concatenate([fragment.truncated for fragment in fragments])
    next_row_M = np.concatenate(
        [fragment.next_rows + offset for fragment, offset in zip(fragments, offsets[:-1], strict=True)]
    )
    followed_N = _followed(length_S, terminated_N, truncated_N, next_row_M)
    parameters = [fragment.action_parameters for fragment in fragments]

    def join(columns: Iterable[NDArray[Any]]) -> Tensor:
        return _tensor(list(columns), device)

    def join_leaves(columns: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, Tensor]:
        return {path: join(leaves[path] for leaves in columns) for path in columns[0]}

    return Rows(
        observations=join_leaves([_observed(f, f.observations, f.critic_rows) for f in fragments]),
        actions=join_leaves([fragment.actions for fragment in fragments]),
        reward_N=join(fragment.rewards for fragment in fragments),
        terminated_N=join([terminated_N]),
        truncated_N=join([truncated_N]),
        followed_N=join([followed_N]),
        log_prob_N=join(fragment.action_log_probs for fragment in fragments),
        parameters=None
        if any(p is None for p in parameters)
        else join(p for p in parameters if p is not None),
        next_row_M=join([next_row_M]),
        next_observations=join_leaves(
            [_observed(f, f.next_observations, f.next_critic_rows) for f in fragments]
        ),
        length_S=length_S,
        num_next_S=np.concatenate([_num_next(fragment) for fragment in fragments]),
        stream_key_S=np.concatenate([_stream_keys(fragment.streams) for fragment in fragments]),
        state=join_leaves([fragment.streams.state for fragment in fragments]),
        first_bad=next(filter(None, map(_first_bad, fragments)), None),
        gather_s=time.perf_counter() - began,
    )


def heard(ranks: Ranks, rows: Rows) -> Ranks:
    """Return the ranks for sums over what comes of `rows`."""
    return SilentRank(ranks) if rows.is_silent else ranks


def take_streams(rows: Rows, stream_P: NDArray[np.int64]) -> Rows:
    """Return the rows of some streams, which stay whole, in the order of `stream_P` (ascending)."""
    device = rows.reward_N.device
    row = torch.from_numpy(places(rows.length_S, stream_P)).to(device)
    next_ = torch.from_numpy(places(rows.num_next_S, stream_P)).to(device)
    place_of_row_N = torch.empty(len(rows), dtype=torch.int64, device=device)
    place_of_row_N[row] = torch.arange(len(row), device=device)
    stream = torch.from_numpy(stream_P).to(device)
    return Rows(
        observations=_at(rows.observations, row),
        actions=_at(rows.actions, row),
        reward_N=rows.reward_N[row],
        terminated_N=rows.terminated_N[row],
        truncated_N=rows.truncated_N[row],
        followed_N=rows.followed_N[row],
        log_prob_N=rows.log_prob_N[row],
        parameters=None if rows.parameters is None else rows.parameters[row],
        next_row_M=place_of_row_N[rows.next_row_M[next_]],
        next_observations=_at(rows.next_observations, next_),
        length_S=rows.length_S[stream_P],
        num_next_S=rows.num_next_S[stream_P],
        stream_key_S=rows.stream_key_S[stream_P],
        state=_at(rows.state, stream),
        first_bad=rows.first_bad,
        is_silent=rows.is_silent,
    )


def places(length_S: NDArray[np.int64], stream_P: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the items of some streams stand.

    >>> places(np.array([2, 3, 1]), np.array([0, 2])).tolist()
    [0, 1, 5]
    """
    length_P = length_S[stream_P]
    first_P = (np.cumsum(length_S) - length_S)[stream_P]
    return np.repeat(first_P - (np.cumsum(length_P) - length_P), length_P) + np.arange(length_P.sum())


def _at(columns: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    return {path: column.index_select(0, index) for path, column in columns.items()}


def _tensor(columns: list[NDArray[Any]], device: torch.device) -> Tensor:
    if device.type == "cuda":
        return _to_gpu(columns, device)
    column = columns[0] if len(columns) == 1 else np.concatenate(columns)
    if not column.flags.writeable:
        column = column.copy()  # torch warns about memory that it could write to and must not
    return torch.from_numpy(column).to(device)


def _to_gpu(columns: list[NDArray[Any]], device: torch.device) -> Tensor:
    """Join in pinned memory, from where the GPU copies by itself while this thread goes on."""
    dtype = torch.from_numpy(np.empty(0, columns[0].dtype)).dtype
    num_rows = sum(map(len, columns))
    pinned = torch.empty((num_rows, *columns[0].shape[1:]), dtype=dtype, pin_memory=True)
    np.concatenate(columns, out=pinned.numpy())
    return pinned.to(device, non_blocking=True)


def _observed(fragment: Fragment, observations: Columns, critic_row: NDArray[np.int64] | None) -> Columns:
    """Return observations with what a central critic sees besides, if there is one."""
    if critic_row is None:
        return observations
    states = {f"{CRITIC_PATH}{path}": column[critic_row] for path, column in fragment.critic_states.items()}
    return {**observations, **states}


def _stream_keys(streams: Streams) -> NDArray[np.int32]:
    return np.stack((streams.policy, streams.environment, streams.agent), 1)


def _num_next(fragment: Fragment) -> NDArray[np.int64]:
    stops = np.searchsorted(fragment.next_rows, np.cumsum(fragment.streams.lengths))
    return np.diff(stops, prepend=0)


def _followed(
    length_S: NDArray[np.int64],
    terminated_N: NDArray[np.bool_],
    truncated_N: NDArray[np.bool_],
    next_row_M: NDArray[np.int64],
) -> NDArray[np.bool_]:
    if length_S.sum() != len(terminated_N):
        raise ValueError(
            f"streams have {length_S.sum()} rows by their lengths and {len(terminated_N)} by their columns; "
            "make them agree"
        )
    ended_N = terminated_N | truncated_N
    ended_N[np.cumsum(length_S[length_S > 0]) - 1] = True
    missing_N = ended_N & ~terminated_N
    missing_N[next_row_M] = False
    if missing_N.any():
        raise ValueError(
            f"row {int(missing_N.argmax())} was truncated or ends its stream, and next_observations has "
            "nothing for it; record the observation that really followed"
        )
    followed_N = ~ended_N
    followed_N[next_row_M] = False
    return followed_N


def _first_bad(fragment: Fragment) -> str | None:
    for name, column in (
        *((f"observations{path}", column) for path, column in fragment.observations.items()),
        *((f"next_observations{path}", column) for path, column in fragment.next_observations.items()),
        *((f"critic_states{path}", column) for path, column in fragment.critic_states.items()),
        *((f"actions{path}", column) for path, column in fragment.actions.items()),
        ("rewards", fragment.rewards),
        ("action_log_probs", fragment.action_log_probs),
    ):
        if column.dtype.kind != "f" or np.isfinite(column).all():
            continue
        used, row = _uses(fragment, name, column)
        bad = ~np.isfinite(used.reshape(len(used), -1)).all(axis=1)
        if not bad.any():
            continue
        first = int(bad.argmax())
        stream = int(np.searchsorted(np.cumsum(fragment.streams.lengths), row[first], side="right"))
        value = used.reshape(len(used), -1)[first]
        return (
            f"column {name} holds {value[~np.isfinite(value)][0]} in {int(bad.sum())} of {len(bad)} rows, "
            f"first {_where(fragment.streams, stream)}: {_cure(name)}"
        )
    return None


def _where(streams: Streams, stream: int) -> str:
    """Say whose a stream is; agents and policies where there are several."""
    where = f"in environment {int(streams.environment[stream])}"
    if not (streams.policy.any() or streams.agent.any()):
        return where
    return (
        f"{where} of agent number {int(streams.agent[stream])}, policy number {int(streams.policy[stream])}"
    )


def _uses(fragment: Fragment, name: str, column: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return what stands in a column for each row that has a part in it, and these rows."""
    every_row = np.arange(fragment.num_rows)
    if name.startswith("next"):
        return column, fragment.next_rows
    if name.startswith("critic"):
        assert fragment.critic_rows is not None
        assert fragment.next_critic_rows is not None
        state = np.concatenate((fragment.critic_rows, fragment.next_critic_rows))
        return column[state], np.concatenate((every_row, fragment.next_rows))
    return column, every_row


def _cure(name: str) -> str:
    if name.startswith(("observations", "next_observations", "critic_states", "rewards")):
        return "mend the environment or wrap it so that it puts out finite numbers"
    return "the acting policy put it out: publish weights that are finite"
