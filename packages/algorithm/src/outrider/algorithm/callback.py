"""What a run calls while it goes: the live view, the progress file and your own code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from outrider.algorithm.algorithm import Algorithm


class Callback(Protocol):
    """Told about a run. Methods are called in the main thread, between iterations; they may be slow,
    and the run waits for them. An exception ends the run."""

    def on_train_result(self, algorithm: Algorithm, result: Mapping[str, Any]) -> None:
        """Take the metrics of the iteration that just ended; the mapping must not be changed."""

    def on_checkpoint(self, algorithm: Algorithm, path: Path) -> None:
        """Take the path of a checkpoint that was just written."""

    def on_stop(self, algorithm: Algorithm, reason: str) -> None:
        """Take the reason why the run stops. Called once."""
