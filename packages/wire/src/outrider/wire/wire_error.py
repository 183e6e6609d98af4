"""The one exception of the wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import DecodeError


class WireError(ValueError):
    """Received bytes are no message that this version can use. Nothing of them was acted upon.

    Raised for bytes that are damaged, hostile, over a limit or of a newer protocol. The sentence says
    what was found, what the rule is, and where there is one the cure.
    """


@contextmanager
def reading(noun: str) -> Iterator[None]:
    """Turn what goes wrong while a `noun` is read into a WireError that names it."""
    try:
        yield
    except DecodeError as error:
        raise WireError(f"these bytes are no {noun}: {error}") from error
    except ValueError as error:
        raise WireError(f"this {noun} is refused: {error}") from error
