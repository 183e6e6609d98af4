"""What a user's own program saves with an algorithm's checkpoints, such as a league."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class SavedAlong(Protocol):
    """Something with a state of its own; see `Algorithm.save_along`."""

    def get_state(self) -> Mapping[str, Any]:
        """Return nested dicts and lists of plain values and NumPy arrays."""
        ...

    def set_state(self, state: Any) -> None:  # noqa: ANN401 - a tree of any shape
        """Go on from what `get_state` returned."""
        ...
