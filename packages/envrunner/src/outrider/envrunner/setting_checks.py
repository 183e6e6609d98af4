"""Refuses settings outside their ranges: value, rule, cure."""

from __future__ import annotations

from typing import Any


def require_whole(name: str, value: object, *, at_least: int) -> None:
    """Raise ValueError unless this is a whole number that is large enough."""
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number >= {at_least}")


def require_seconds(name: str, value: float) -> None:
    """Raise ValueError unless one can wait for so long."""
    if not 0 < value <= 1e6:  # the operating system waits no longer than 24 days
        raise ValueError(f"{name} is {value!r}; it must be a number of seconds above 0 and not above 1e6")


def require_one_of(name: str, value: object, allowed: tuple[Any, ...]) -> None:
    """Raise ValueError unless this is one of the words that are allowed."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(map(repr, allowed))}")


def require_text(name: str, value: object, *, example: str) -> None:
    """Raise ValueError unless this is None or a text with something in it."""
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError(f"{name} is {value!r}; give {example}, or None")
