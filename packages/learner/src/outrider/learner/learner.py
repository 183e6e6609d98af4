"""What a training loop sees of a learner, or of a group of them."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from outrider.wire import Fragment, Weights

StateTree: TypeAlias = dict[str, Any]
"""Nested dicts with string keys and lists of str, int, float, bool, None and NumPy arrays; never pickled."""


class Learner(Protocol):
    """Turns fragments into new weights."""

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        """Train on `fragments` and return metrics (see `outrider.learner.metrics`); blocks until done."""

    def publish(self) -> Weights:
        """Return the newest weights; the same version again when nothing was trained in between."""

    def get_state(self) -> StateTree:
        """Copy everything from which training goes on exactly as if it had never stopped."""

    def set_state(self, state: StateTree) -> None:
        """Take over what `get_state` returned; raises ValueError when it does not fit."""
