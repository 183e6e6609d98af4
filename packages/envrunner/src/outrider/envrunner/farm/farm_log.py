"""What a farm prints: lines for people, or one JSON object to a line for whoever collects logs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal, TextIO

Level = Literal["info", "warning", "error"]


class FarmLog:
    """Writes news to standard output, and what is wrong to standard error; JSON all to the former."""

    def __init__(
        self,
        *,
        as_json: bool,
        write: Callable[[str], object] | None = None,
        write_error: Callable[[str], object] | None = None,
    ) -> None:
        """Write to this process's streams unless told otherwise."""
        self._as_json = as_json
        self._write = write or _to_stdout
        self._write_error = write_error or _to_stderr

    def say(
        self, event: str, text: str, *, level: Level = "info", runner: int | None = None, **numbers: float
    ) -> None:
        """Say what happened, of a runner or of the farm; `numbers` are in `text` too."""
        if self._as_json:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = {"time": now, "level": level, "runner": runner, "event": event, "text": text, **numbers}
            self._write(json.dumps(line) + "\n")
            return
        who = "outrider-farm" if runner is None else f"outrider-farm: runner {runner}"
        (self._write if level == "info" else self._write_error)(f"{who}: {text}\n")


def _to_stdout(line: str) -> None:
    _write(sys.stdout, line)


def _to_stderr(line: str) -> None:
    _write(sys.stderr, line)


def _write(stream: TextIO, line: str) -> None:
    with suppress(BrokenPipeError, ValueError):  # that nobody reads any more is no reason to end
        stream.write(line)
        stream.flush()
