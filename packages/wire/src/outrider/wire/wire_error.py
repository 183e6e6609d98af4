"""The one exception of the wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import DecodeError

_MAX_CHARACTERS = 1000


class WireError(ValueError):
    """Received bytes are no message that this version can use. Nothing of them was acted upon.

    Raised for bytes that are damaged, hostile, over a limit or of a newer protocol. The sentence says
    what was found, what the rule is, and where there is one the cure. It may quote the bytes, and is
    nevertheless one line that can be logged.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(_in_one_line(sentence))


@contextmanager
def reading(noun: str) -> Iterator[None]:
    """Turn what goes wrong while a `noun` is read into a WireError that names it."""
    try:
        yield
    except DecodeError as error:
        raise WireError(f"these bytes are no {noun}: {error}") from error
    except ValueError as error:
        raise WireError(f"this {noun} is refused: {error}") from error


def _in_one_line(text: str) -> str:
    shown = text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]} ..."
    return shown if shown.isprintable() else "".join(each if each.isprintable() else " " for each in shown)
