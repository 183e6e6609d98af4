"""Warns of settings that have no effect."""

import warnings
from dataclasses import fields
from typing import Any


def warn_of_ignored(settings: Any, *names: str, cure: str) -> None:  # noqa: ANN401 - a settings dataclass
    """Warn for each of `names` that was set; to be called in `__post_init__`."""
    defaults = {field.name: field.default for field in fields(settings)}
    for name in names:
        if getattr(settings, name) != defaults[name]:
            warnings.warn(f"{name} is ignored; {cure}", stacklevel=4)
