"""What a run calls while it goes: the live view, the progress file and your own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from outrider.algorithm.algorithm import Algorithm


@runtime_checkable
class Callback(Protocol):
    """Told about a run, in the main thread, between iterations.

    The run waits for each method, and an exception ends it.
    """

    def on_train_result(self, algorithm: Algorithm, result: Mapping[str, Any]) -> None:
        """Take the metrics of the iteration that just ended; the mapping must not be changed."""

    def on_checkpoint(self, algorithm: Algorithm, path: Path) -> None:
        """Take the path of a checkpoint that was just written."""

    def on_stop(self, algorithm: Algorithm, reason: str) -> None:
        """Take the reason why the run stops. Called once."""
