"""Acts for many runners of this process at once, with one call of the policy for all who come in time.

    runner 0 --- act(16 rows) ---.
    runner 1 --- act(16 rows) ---+--- one call with 48 rows --- each gets its own 16 back
    runner 2 --- act(16 rows) ---'

A call waits for others for a bounded time, and not at all once every runner has come that is sampling
with the same weights. Runners draw their own actions, so that they sample what they would sample alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.policies.acting_policy import ActingPolicy
from outrider.wire import Columns, TensorSpec, Weights


class BatchedPolicy:
    """One policy for each set of weights that somebody acts with: one, and two while new ones spread."""

    def __init__(self, make: Callable[[], ActingPolicy], *, delay_s: float) -> None:
        """Make policies when they are needed. A call waits for others for at most `delay_s`."""
        self._make = make
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._groups: list[_Group] = []
        self._spare: list[ActingPolicy] = []
        self._state_spec: Mapping[str, TensorSpec] | None = None

    @property
    def state_spec(self) -> Mapping[str, TensorSpec]:
        """Recurrent state by name, without the batch axis."""
        with self._lock:
            if self._state_spec is None:
                self._spare.append(self._make())
                self._state_spec = self._spare[0].state_spec
            return self._state_spec

    def member(self) -> Member:
        """Return a policy for one runner."""
        return Member(self)

    def join(self, weights: Weights) -> _Group:
        """Return those who act with these weights. Raises ValueError where the weights do not fit."""
        with self._lock:
            group = next((each for each in self._groups if each.has(weights)), None)
            if group is None:
                policy = self._spare.pop() if self._spare else self._make()
                try:
                    policy.set_weights(weights)
                except BaseException:
                    self._spare.append(policy)
                    raise
                group = _Group(policy, weights, self._delay_s)
                self._groups.append(group)
            group.num_members += 1
            return group

    def leave(self, group: _Group) -> None:
        """Give up a place; the policy of a group without members is used for the next weights."""
        with self._lock:
            group.num_members -= 1
            if not group.num_members:
                self._groups.remove(group)
                self._spare.append(group.policy)


class Member:
    """What one runner sees of a `BatchedPolicy`: an `ActingPolicy`. For one thread."""

    def __init__(self, batched: BatchedPolicy) -> None:
        self._batched = batched
        self._group: _Group | None = None

    @property
    def state_spec(self) -> Mapping[str, TensorSpec]:
        """Recurrent state by name, without the batch axis."""
        return self._batched.state_spec

    def set_weights(self, weights: Weights) -> None:
        """Act with those who have these weights. Not within `sampling`."""
        group = self._batched.join(weights)
        self.leave()
        self._group = group

    def act(
        self, observations: Columns, state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        """Return action parameters and the next state, after a wait for others; see `ActingPolicy`."""
        assert self._group is not None, "set weights before acting"
        return self._group.act(observations, state)

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Let the others' calls wait for those of this runner within the block."""
        assert self._group is not None, "set weights before sampling"
        group = self._group
        group.count(1)
        try:
            yield
        finally:
            group.count(-1)

    def leave(self) -> None:
        """Act no more."""
        if self._group is not None:
            self._batched.leave(self._group)
            self._group = None


class _Group:
    """Those who act with the same weights."""

    def __init__(self, policy: ActingPolicy, weights: Weights, delay_s: float) -> None:
        self.policy = policy
        self.num_members = 0
        self._weights = weights
        self._delay_s = delay_s
        self._num_sampling = 0
        self._open: _Batch | None = None
        self._lock = threading.Lock()
        self._grown = threading.Condition(self._lock)  # the first of a batch listens, until it is taken
        self._done = threading.Condition(self._lock)  # all others listen
        self._computing = threading.Lock()  # the policy's arrays are used again

    def has(self, weights: Weights) -> bool:
        """Tell whether these are the weights; a resumed run may have others under the same version."""
        mine = self._weights
        return mine is weights or (
            (mine.version, mine.fingerprint) == (weights.version, weights.fingerprint)
            and mine.tensors.keys() == weights.tensors.keys()
            and all(np.array_equal(mine.tensors[name], each) for name, each in weights.tensors.items())
        )

    def count(self, change: int) -> None:
        """Note that a member begins or ends to sample."""
        with self._lock:
            self._num_sampling += change
            self._grown.notify_all()

    def act(
        self, observations: Columns, state: Columns
    ) -> tuple[NDArray[np.float32], Mapping[str, NDArray[Any]]]:
        with self._lock:
            is_first = self._open is None
            batch = self._open = self._open or _Batch()
            rows = batch.add(observations, state)
            if is_first and not self._is_full(batch):
                deadline = monotonic() + self._delay_s
                self._grown.wait_for(
                    lambda: batch is not self._open or self._is_full(batch), deadline - monotonic()
                )
            takes = batch is self._open and (is_first or self._is_full(batch))
            if takes:
                self._open = None
                self._grown.notify_all()
        if takes:
            self._compute(batch)
        with self._lock:
            self._done.wait_for(lambda: batch.is_done)
        return batch.part(rows)

    def _is_full(self, batch: _Batch) -> bool:
        return len(batch.calls) >= self._num_sampling

    def _compute(self, batch: _Batch) -> None:
        try:
            with self._computing:
                batch.compute(self.policy)
        finally:
            with self._lock:
                batch.is_done = True
                self._done.notify_all()


class _Batch:
    """Calls that are answered together."""

    def __init__(self) -> None:
        self.calls: list[tuple[Columns, Columns]] = []
        self.is_done = False
        self._num_rows = 0
        self._parameters: NDArray[np.float32]
        self._next_state: dict[str, NDArray[Any]]
        self._error: Exception | None = None

    def add(self, observations: Columns, state: Columns) -> slice:
        """Take a call and return where its rows are."""
        start = self._num_rows
        self._num_rows += len(next(iter(observations.values())))
        self.calls.append((observations, state))
        return slice(start, self._num_rows)

    def compute(self, policy: ActingPolicy) -> None:
        """Call the policy; what it raises is for all."""
        try:
            observations, states = zip(*self.calls, strict=True)
            parameters, next_state = policy.act(_joined(observations), _joined(states))
            self._parameters = parameters.copy()
            self._next_state = {name: column.copy() for name, column in next_state.items()}
        except Exception as error:  # noqa: BLE001 - raised in every thread that waits
            self._error = error

    def part(self, rows: slice) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
        """Return the results of one call."""
        if self._error is not None:
            raise self._error
        return self._parameters[rows], {name: column[rows] for name, column in self._next_state.items()}


def _joined(columns: tuple[Columns, ...]) -> Columns:
    if len(columns) == 1:
        return columns[0]
    return {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}
