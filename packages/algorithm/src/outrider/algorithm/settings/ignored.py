"""Warns of settings that were changed and have no effect."""

from __future__ import annotations

import warnings
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
