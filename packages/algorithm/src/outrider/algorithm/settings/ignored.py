"""Warns of settings that were changed and have no effect, once for each run that is made."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any


def warn_ignored(settings: Any, names: tuple[str, ...], why: str) -> None:  # noqa: ANN401 - a dataclass
    """Warn of each of these settings that is not at its default."""
    for field in fields(settings):
        if field.name not in names:
            continue
        default = field.default if field.default_factory is MISSING else field.default_factory()
        value = getattr(settings, field.name)
        if value != default:
            shown = f"{value:g}" if isinstance(value, float) else repr(value)
            warnings.warn(f"{field.name}={shown} is ignored {why}", stacklevel=4)


def warn_of(sentences: Iterable[str]) -> None:
    """Warn in these sentences."""
    for sentence in sentences:
        warnings.warn(sentence, stacklevel=3)


def warn_of_policies(sentences: Mapping[str, Sequence[str]], num_policies: int) -> None:
    """Warn in each sentence once, and name the policies that it is of unless they are all there are."""
    for sentence, names in sentences.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        who = "" if len(names) == num_policies else f"policy {names[0]!r}{more}: "
        warnings.warn(f"{who}{sentence}", stacklevel=3)
