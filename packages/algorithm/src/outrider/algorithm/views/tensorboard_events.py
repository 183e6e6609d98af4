"""Writes the metrics of a run for TensorBoard, against environment steps."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import histogram_raw, scalar

from outrider.algorithm.saved.whole_file import not_written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from outrider.algorithm.algorithm import Algorithm

FLUSH_S = 5.0


class TensorBoardEvents:
    """A callback that writes the numbers of a result.

    It writes in the caller's thread, so that a full disk is an error where it happens.
    """

    def __init__(self, directory: Path) -> None:
        """Open a new event file in the directory of a run; TensorBoard joins those of resumed runs."""
        self._directory = directory
        self._writer = EventsWriter(str(directory / "events"))
        self._flushed_at = time.monotonic()
        self._has_started = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk ended the run already, in a sentence of its own
            self._writer.close()

    def on_train_result(self, algorithm: Algorithm, result: Mapping[str, Any]) -> None:
        """Write each finite number as a scalar and each list of counts as a histogram.

        They have the names that they have in progress.jsonl.
        """
        step = result["num_env_steps"]
        with self._said_where_full():
            if not self._has_started:
                self._start(step)
            for name, value in result.items():
                summary = _summary(name if "/" in name else f"run/{name}", value)
                if summary:
                    self._writer.write_event(Event(summary=summary, step=step, wall_time=time.time()))
        if time.monotonic() - self._flushed_at > FLUSH_S:
            self._flush()

    def on_checkpoint(self, algorithm: Algorithm, path: Path) -> None:
        """Write out what is buffered, so that events and checkpoint belong together."""
        self._flush()

    def on_stop(self, algorithm: Algorithm, reason: str) -> None:
        """Write out the rest."""
        self._flush()

    def _start(self, step: int) -> None:
        """Hide what a killed run wrote after the checkpoint from which this one goes on."""
        started = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(session_log=started, step=step, wall_time=time.time()))
        self._has_started = True

    def _flush(self) -> None:
        with self._said_where_full():
            self._writer.flush()
        self._flushed_at = time.monotonic()

    @contextmanager
    def _said_where_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise not_written(self._directory / "events", error) from error


def _summary(name: str, value: Any) -> Any:  # noqa: ANN401 - a metric; protobuf without types
    if isinstance(value, (int, float)) and math.isfinite(value):
        return scalar(name, value)
    if isinstance(value, list):
        return _histogram(name, value)
    return None


def _histogram(name: str, counts: Sequence[int]) -> Any:  # noqa: ANN401 - protobuf without types
    """Show how often each whole number from 0 on was counted."""
    return histogram_raw(
        name,
        min=0,
        max=len(counts) - 1,
        num=sum(counts),
        sum=sum(value * count for value, count in enumerate(counts)),
        sum_squares=sum(value**2 * count for value, count in enumerate(counts)),
        bucket_limits=[value + 0.5 for value in range(len(counts))],
        bucket_counts=counts,
    )
