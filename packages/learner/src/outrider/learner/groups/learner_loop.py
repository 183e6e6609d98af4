"""Trains without pause on whatever it is given, in two threads. Free of torch.

    put --> [portion][portion] -- load, one ahead --> [rows] -- update --> report, when somebody asks
                                 loader thread                 trainer thread

While one portion trains, the next one is loaded. Weights are published between two updates, and only when
somebody waits for them: publishing copies.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from outrider.learner.groups.group import load
from outrider.learner.learner import Learner
from outrider.transport import FragmentReference
from outrider.wire import all_parts

W = TypeVar("W")
R = TypeVar("R")
CLOSE_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopReport(Generic[W]):
    """What a loop did since the report before."""

    num_updates: int
    num_rows: int
    """Rows that came in for these updates."""
    metrics: Mapping[str, float]
    """Of the newest update."""
    weights: W
    """What `publish` returned after it."""
    work_s: float
    """Seconds in updates."""
    wait_s: float
    """Seconds in which there was nothing to train on."""
    queue_depth: float
    """Fragments that lay waiting when an update began, mean over these updates."""
    num_done: int
    """Portions that the loop is done with since it was made."""
    num_lost_rows: int
    """Rows that were no longer there since the report before."""


@dataclass(slots=True)
class _Tally:
    num_updates: int = 0
    num_rows: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    work_s: float = 0.0
    wait_s: float = 0.0
    queue_depths: int = 0
    num_lost_rows: int = 0


@dataclass(slots=True)
class _Call:
    """Something to be done between two updates, and what came of it."""

    function: Callable[[], Any]
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A portion."""

    rows: Any
    """What the learner's `load` returned."""
    num_rows: int
    num_lost_rows: int
    is_lost: bool
    """Whether nothing of it is there any more."""


_Fragments = tuple[FragmentReference, ...]


class LearnerLoop(Generic[W]):
    """A learner that never waits for whoever feeds it.

    What either thread raises ends both and is raised, with its traceback, by every later call of `put`,
    `report` and `between_updates`. `publish` runs between two updates in the trainer's thread.
    """

    def __init__(self, learner: Learner, *, publish: Callable[[], W], name: str = "learner") -> None:
        """Take the learner over and start; from now on only this loop calls it."""
        self._learner = learner
        self._publish = publish
        self._changed = threading.Condition()
        self._waiting: deque[_Fragments | _Call] = deque()
        self._loaded: _Loaded | _Call | None = None
        self._num_begun = self._num_lost = 0
        self._tally = _Tally()
        self._wanted = False
        self._report: LoopReport[W] | None = None
        self._error: BaseException | None = None
        self._closed = False
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), name=f"{name}-{kind}", daemon=True)
            for kind, work in (("loader", self._load), ("trainer", self._train))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def num_begun(self) -> int:
        """Updates that were begun since the loop was made, those included of which nothing was there."""
        return self._num_begun

    @property
    def num_lost(self) -> int:
        """Portions of which nothing was there any more: they made no update."""
        return self._num_lost

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def put(self, fragments: Sequence[FragmentReference]) -> None:
        """Hand over the fragments of one update and return at once."""
        self._append(tuple(fragments))

    def report(self, timeout_s: float) -> LoopReport[W] | None:
        """Return what was learned since the last call, and wait up to `timeout_s` for an update's end."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._report or self._error or self._closed, timeout_s)
            self._raise_error()
            report, self._report = self._report, None
            return report

    def post(self, function: Callable[[], object]) -> _Call:
        """Have `function` run in the trainer's thread after all that was put before, and return at once."""
        call = _Call(function)
        self._append(call)
        return call

    def between_updates(self, function: Callable[[], R], timeout_s: float) -> R:
        """Run `function` in the trainer's thread after all that was put before, and return its result.

        Raises TimeoutError where one update takes longer than `timeout_s`, or `function` does.
        """
        call = self.post(function)
        num_begun = -1
        with self._changed:
            while num_begun < self._num_begun:
                num_begun = self._num_begun
                self._changed.wait_for(partial(self._is_further, call, num_begun), timeout_s)
            self._raise_error()
        if not call.done.is_set():
            raise TimeoutError(
                f"the learner came to no pause between two updates within {timeout_s:g} s; raise "
                "learner_timeout_s, or give it less to learn at once"
            )
        result: R = call.result
        return result

    def close(self) -> None:
        """Drop what waits and end both threads; an update under way gets some seconds to finish."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _is_further(self, call: _Call, num_begun: int) -> bool:
        """Return whether a call need not be waited for, or another update was begun meanwhile."""
        is_over = call.done.is_set() or self._closed or self._error is not None
        return is_over or self._num_begun > num_begun

    def _append(self, item: _Fragments | _Call) -> None:
        with self._changed:
            self._raise_error()
            if self._closed:
                raise ValueError("the learner is closed; make a new one")
            self._waiting.append(item)
            self._changed.notify_all()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed to whoever calls next, whatever it is
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _wait(self, ready: Callable[[], object]) -> bool:
        """Wait with the lock held; return whether to go on."""
        self._changed.wait_for(lambda: ready() or self._closed or self._error)
        return not self._closed and self._error is None

    def _load(self) -> None:
        """Load the next portion as soon as the trainer has taken the one before."""
        while True:
            with self._changed:
                if not self._wait(lambda: self._waiting and self._loaded is None):
                    return
                item = self._waiting[0]
            loaded = item if isinstance(item, _Call) else self._load_portion(item)
            with self._changed:
                if self._closed:
                    return
                self._waiting.popleft()
                self._loaded = loaded
                self._changed.notify_all()

    def _load_portion(self, portion: _Fragments) -> _Loaded:
        there, num_lost_rows = load(portion)
        is_lost = len(there) == 0 < len(portion)
        num_rows = sum(part.num_rows for each in there for part in all_parts(each))
        return _Loaded(None if is_lost else self._learner.load(there), num_rows, num_lost_rows, is_lost)

    def _train(self) -> None:
        while True:
            began = time.perf_counter()
            with self._changed:
                self._wait(lambda: self._loaded is not None or self._asked())
                self._tally.wait_s += time.perf_counter() - began
                if self._closed or self._error:
                    return
                item, self._loaded = self._loaded, None
                if item is not None and not isinstance(item, _Call):
                    self._num_begun += 1
                    self._tally.queue_depths += self._num_fragments_waiting()
                self._changed.notify_all()
            if isinstance(item, _Call):
                item.result = item.function()
                item.done.set()
            elif item is not None:
                self._update(item)
            if self._asked():
                self._make_report()
            with self._changed:
                self._changed.notify_all()

    def _update(self, loaded: _Loaded) -> None:
        self._tally.num_lost_rows += loaded.num_lost_rows
        if loaded.is_lost:
            self._num_lost += 1
            return
        began = time.perf_counter()
        self._tally.metrics = self._learner.update_rows(loaded.rows)
        self._tally.work_s += time.perf_counter() - began
        self._tally.num_updates += 1
        self._tally.num_rows += loaded.num_rows

    def _asked(self) -> bool:
        return self._wanted and self._report is None and self._tally.num_updates > 0

    def _make_report(self) -> None:
        tally, self._tally = self._tally, _Tally()
        report = LoopReport(
            num_updates=tally.num_updates,
            num_rows=tally.num_rows,
            metrics=tally.metrics,
            weights=self._publish(),
            work_s=tally.work_s,
            wait_s=tally.wait_s,
            queue_depth=tally.queue_depths / tally.num_updates,
            num_done=self._num_begun,
            num_lost_rows=tally.num_lost_rows,
        )
        with self._changed:
            self._report = report
            self._wanted = False
            self._changed.notify_all()

    def _num_fragments_waiting(self) -> int:
        return sum(len(item) for item in self._waiting if not isinstance(item, _Call))
