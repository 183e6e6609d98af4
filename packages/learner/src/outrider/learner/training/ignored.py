"""Says which settings have no effect. Whoever runs with them warns of that, once."""

from dataclasses import fields
from typing import Any


def ignored(settings: Any, *names: str, cure: str) -> list[str]:  # noqa: ANN401 - a settings dataclass
    """Return a sentence for each of `names` that was set."""
    defaults = {field.name: field.default for field in fields(settings)}
    return [f"{name} is ignored; {cure}" for name in names if getattr(settings, name) != defaults[name]]
