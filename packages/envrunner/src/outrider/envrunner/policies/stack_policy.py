"""Acts for many policies in one call of ONNX Runtime, without torch.

Axes: N = rows, P = policies of the stack, C = chunks, R = rows of a chunk.

Rows come sorted by policy and are cut into chunks of equal length. Where nearly all policies between the
first and the last act, each is a chunk of its own, and the session reads its weights where they lie;
otherwise the weights of those that act are copied together, which is done again only when others act:

    policies that act    0 0 1 1 3 3      chunks 0 1 (2) 3      weights[0:4], policy 2 computes nothing of use
                         0 0 700 700      chunks 0 700          weights[[0, 700]], copied
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.batch_sizes import BatchSizes
from outrider.envrunner.policies.onnx_policy import ONNX_DTYPES, WEIGHTS, open_session
from outrider.envrunner.policies.row_chunks import RowChunks, row_chunks
from outrider.envrunner.policies.stacked_weights import StackedWeights
from outrider.wire import (
    Columns,
    PolicyGraph,
    Weights,
    leaf_dtype,
    leaf_shape,
    leaves,
)

if TYPE_CHECKING:
    import onnxruntime as ort

Indices = NDArray[np.intp]
_MOST_BOUND = 32
_MOST_LAYOUTS = 64
_MOST_IDLE = 2
"""So many times as many policies as act may be computed before weights are copied together."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the rows of a call are computed."""

    policy: NDArray[np.int32]
    bound: _Bound
    where: Indices | None
    """[N] c * R + r of each row; None where they are all in order."""
    gathering: int | None
    """Which copy of weights it needs; None where it reads them where they lie."""


class StackPolicy:
    """Executes a stacked policy graph on one CPU thread. An `ActingStack`."""

    def __init__(self, graph: PolicyGraph, name: str) -> None:
        """Load the graph of the stack called `name`.

        Raises ValueError where ONNX Runtime cannot load it, or it is of single policies.
        """
        if not graph.is_stacked:
            raise ValueError(
                f"the policy graph of stack {name!r} acts for one policy; act with it through SolePolicy"
            )
        self.name = name
        self.observation_space = graph.observation_space
        self.action_heads = graph.action_heads
        self.state_spec = graph.state
        self._session = open_session(graph.model)
        self._weights = StackedWeights(
            name,
            graph.fingerprint,
            {
                node.name.removeprefix(WEIGHTS): (tuple(node.shape[1:]), np.dtype(ONNX_DTYPES[node.type]))
                for node in self._session.get_inputs()
                if node.name.startswith(WEIGHTS)
            },
        )
        self._arrays = _Arrays(graph, {node.name for node in self._session.get_inputs()})
        self._lengths = BatchSizes()
        self._layouts: dict[bytes, _Layout] = {}
        self._latest: _Layout | None = None
        self._bound: dict[tuple[int | None, int, int], _Bound] = {}
        self._gathered: dict[str, NDArray[Any]] = {}
        self._gathered_places = np.zeros(0, np.intp)
        self._gathering = 0

    def set_weights(self, weights: Weights) -> None:
        """Take over weights that are newer. Raises ValueError where they do not fit."""
        before = self._weights.num_arrangements
        if self._weights.take(weights):
            self._bound.clear()
        if self._weights.num_arrangements != before:
            self._forget_layouts()
        self._forget_gathered()

    def forget(self) -> None:
        """Take the next weights whatever their versions."""
        self._weights.forget_versions()

    def reserve(self, num_policies: int) -> None:
        """Make places for so many."""
        self._weights.reserve(num_policies)

    def drop(self, policies: NDArray[np.int32]) -> None:
        """Keep the weights of these no longer."""
        self._weights.drop(policies)
        self._forget_layouts()

    def act(
        self, observations: Columns, policy: NDArray[np.int32], state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        """Return action parameters [N, k] and the next recurrent state {name: [N, ...]}.

        `policy` [N] is ascending. What is returned is valid until the next call.
        """
        layout = self._latest
        if layout is None or layout.policy is not policy:
            layout = self._latest = self._layout(policy)
        bound, where = layout.bound, layout.where
        if where is None:
            for path, destination in bound.observations:
                destination[...] = observations[path]
            for name, destination in bound.state:
                destination[...] = state[name]
            bound.run(bound.binding, None)
            return bound.parameters, bound.next_state
        for path, destination in bound.observations:
            destination[where] = observations[path]
        for name, destination in bound.state:
            destination[where] = state[name]
        bound.run(bound.binding, None)
        next_state = {name: column.take(where, 0) for name, column in bound.next_state.items()}
        return bound.parameters.take(where, 0), next_state

    def _layout(self, policy: NDArray[np.int32]) -> _Layout:
        key = policy.tobytes()
        layout = self._layouts.get(key)
        if layout is None or layout.gathering not in {None, self._gathering}:
            if len(self._layouts) == _MOST_LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[key] = self._lay_out(policy)
        return layout

    def _lay_out(self, policy: NDArray[np.int32]) -> _Layout:
        chunks = row_chunks(self._weights.places(policy), self._lengths.at_least)
        return self._in_place(policy, chunks) or self._copied(policy, chunks)

    def _in_place(self, policy: NDArray[np.int32], chunks: RowChunks) -> _Layout | None:
        """Read weights where they lie, if there are not too many between them that nobody needs."""
        first, stop = int(chunks.places[0]), int(chunks.places[-1]) + 1
        if chunks.is_split or stop - first > _MOST_IDLE * len(chunks.places):
            return None
        step = 1 << max(0, (stop - first).bit_length() - 4)  # few slices, so that few are bound
        first, stop = first // step * step, min(-(-stop // step) * step, self._num_policies)
        bound = self._bind(first, stop - first, chunks.length)
        return _Layout(policy, bound, self._where(chunks, chunks.places - first, stop - first), None)

    def _copied(self, policy: NDArray[np.int32], chunks: RowChunks) -> _Layout:
        """Read copies of the weights; those at hand serve if they are not too many."""
        wanted, held = chunks.places, self._gathered_places
        at = np.searchsorted(held, wanted)
        is_held = (
            not chunks.is_split
            and len(wanted) <= len(held) <= _MOST_IDLE * len(wanted)
            and bool((held[np.minimum(at, len(held) - 1)] == wanted).all())
            and bool((np.diff(held) > 0).all())
        )
        if not is_held and not np.array_equal(held, wanted):
            self._gather(wanted)
        if not is_held:
            at = np.arange(len(wanted))
        num_chunks = len(self._gathered_places)
        bound = self._bind(None, num_chunks, chunks.length)
        return _Layout(policy, bound, self._where(chunks, at, num_chunks), self._gathering)

    def _where(self, chunks: RowChunks, at: Indices, num_chunks: int) -> Indices | None:
        where = at[chunks.chunk] * chunks.length + chunks.offset
        is_in_order = len(where) == num_chunks * chunks.length and bool((np.diff(where) > 0).all())
        return None if is_in_order else where

    def _gather(self, places: Indices) -> None:
        """Copy the weights of some policies together."""
        self._gathering += 1
        self._gathered_places = places
        size = len(next(iter(self._gathered.values()), ()))
        if len(places) > size:
            self._bound = {key: bound for key, bound in self._bound.items() if key[0] is not None}
            self._gathered = {
                name: np.empty((len(places), *tensor.shape[1:]), tensor.dtype)
                for name, tensor in self._weights.tensors.items()
            }
        for name, tensor in self._weights.tensors.items():
            np.take(tensor, places, 0, out=self._gathered[name][: len(places)], mode="clip")

    def _bind(self, first: int | None, num_chunks: int, length: int) -> _Bound:
        """Bind arrays of some size to the session, with weights from `first` on or, for None, copied ones."""
        key = (first, num_chunks, length)
        bound = self._bound.get(key)
        if bound is None:
            if self._arrays.grow(num_chunks * length):
                self._bound.clear()
                self._forget_layouts()
            if len(self._bound) == _MOST_BOUND:
                del self._bound[next(iter(self._bound))]
            source = self._gathered if first is None else self._weights.tensors
            start = first or 0
            weights = {name: tensor[start : start + num_chunks] for name, tensor in source.items()}
            bound = self._bound[key] = _Bound(self._session, self._arrays, weights, num_chunks, length)
        return bound

    @property
    def _num_policies(self) -> int:
        return len(next(iter(self._weights.tensors.values())))

    def _forget_layouts(self) -> None:
        self._layouts.clear()
        self._latest = None

    def _forget_gathered(self) -> None:
        self._gathered_places = np.zeros(0, np.intp)
        self._gathering += 1
        if self._latest is not None and self._latest.gathering is not None:
            self._latest = None


class _Arrays:
    """Memory for observations that the graph reads, recurrent state and results, which all bindings share."""

    def __init__(self, graph: PolicyGraph, inputs: Collection[str]) -> None:
        self._size = 0
        self._leaves = [
            (path, leaf_shape(leaf), leaf_dtype(leaf))
            for path, leaf in leaves(graph.observation_space).items()
            if f"observation{path}" in inputs  # networks of the user's may ignore some
        ]
        self._num_parameters = max(head.stop for head in graph.action_heads)
        self._state = graph.state
        self.observations: dict[str, NDArray[Any]] = {}
        self.state: dict[str, NDArray[Any]] = {}
        self.next_state: dict[str, NDArray[Any]] = {}
        self.parameters = np.zeros((0, self._num_parameters), np.float32)

    def grow(self, num_rows: int) -> bool:
        """Make room; return whether the arrays are others now."""
        if num_rows <= self._size:
            return False
        self._size = num_rows
        self.observations = {path: np.zeros((num_rows, *shape), dtype) for path, shape, dtype in self._leaves}
        self.state, self.next_state = (
            {name: np.zeros((num_rows, *spec.shape), spec.dtype) for name, spec in self._state.items()}
            for _ in range(2)
        )
        self.parameters = np.zeros((num_rows, self._num_parameters), np.float32)
        return True


class _Bound:
    """The arrays of one size, bound to the session by address."""

    def __init__(
        self,
        session: ort.InferenceSession,
        arrays: _Arrays,
        weights: Mapping[str, NDArray[Any]],
        num_chunks: int,
        length: int,
    ) -> None:
        num_rows = num_chunks * length
        self.observations = [(path, array[:num_rows]) for path, array in arrays.observations.items()]
        self.state = [(name, array[:num_rows]) for name, array in arrays.state.items()]
        self.next_state = {name: array[:num_rows] for name, array in arrays.next_state.items()}
        self.parameters = arrays.parameters[:num_rows]
        self.binding = session.io_binding()
        self.run = session.run_with_iobinding
        self._held = weights  # the session knows addresses only
        inputs = {f"{WEIGHTS}{name}": array for name, array in weights.items()}
        axes = (num_chunks, length)
        for path, array in self.observations:
            inputs[f"observation{path}"] = array.reshape(*axes, *array.shape[1:])
        for name, array in self.state:
            inputs[f"state/{name}"] = array.reshape(*axes, *array.shape[1:])
        outputs = {"action_parameters": self.parameters}
        outputs |= {f"next_state/{name}": array for name, array in self.next_state.items()}
        for name, array in inputs.items():
            self.binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            shape = (*axes, *array.shape[1:])
            self.binding.bind_output(name, "cpu", 0, array.dtype.type, shape, array.ctypes.data)
