"""Errors of a learner rank as plain values, and back. Free of torch and Ray."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from outrider.learner.learner import TrainingDivergedError


class LostRankError(ConnectionError):
    """A rank is gone, or a sum over the ranks failed because another one is or does not answer."""

    def __init__(self, text: str, *, rank: int | None = None) -> None:
        """Say which rank is gone, where that is known."""
        super().__init__(text)
        self.rank = rank


class LostObjectError(ConnectionError):
    """What a rank was handed is gone with the node that held it; the rank is there, and did nothing."""

    def __init__(self, text: str, *, rank: int) -> None:
        """Say which rank could not have it."""
        super().__init__(text)
        self.rank = rank


def error_message(error: BaseException) -> dict[str, Any]:
    """Write an error down: its kind, its text, and where it was raised."""
    lines = traceback.format_exception(error)
    return {"error": type(error).__name__, "text": str(error), "traceback": "".join(lines)}


def read_error(message: Mapping[str, Any], who: str) -> Exception:
    """Make the error that `error_message` wrote down; its traceback is noted on it.

    A kind that is not known here becomes a RuntimeError that names it.
    """
    text, name = str(message["text"]), str(message["error"])
    kind = _KINDS.get(name)
    error = RuntimeError(f"{name}: {text}") if kind is None else kind(text)
    error.add_note(f"raised in {who}:\n{message['traceback']}")
    return error


_KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        ValueError,
        TimeoutError,
        ConnectionError,
        MemoryError,
        LostRankError,
        TrainingDivergedError,
    )
}
