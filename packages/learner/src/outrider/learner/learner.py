"""What a training loop sees of a learner, or of a group of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from outrider.wire import Fragment, Weights

StateTree: TypeAlias = dict[str, Any]
"""Nested dicts with string keys and lists of str, int, float, bool, None and NumPy arrays; never pickled."""

Loaded: TypeAlias = Any
"""What a learner's `load` returns and its `update_rows` takes; nobody else looks into it."""


class TrainingDivergedError(RuntimeError):
    """Too many gradient steps in a row had a loss or gradient that was not finite."""


class Learner(Protocol):
    """Turns fragments into new weights."""

    def load(self, fragments: Sequence[Fragment]) -> Loaded:
        """Check and join fragments and copy them to the learner's device.

        Looks at no weights, so that another thread may load the next update while this one trains.
        Raises ValueError for fragments that break the rules of `outrider.wire.Fragment`.
        """
        ...

    def update_rows(self, rows: Loaded) -> dict[str, float]:
        """Train on what `load` returned, once; metrics are those of `outrider.learner.metrics`.

        Raises TrainingDivergedError where too many steps in a row were skipped; weights are finite still.
        """
        ...

    def update(self, fragments: Sequence[Fragment]) -> dict[str, float]:
        """Load and train; blocks until done."""
        ...

    def publish(self) -> Weights:
        """Return the newest weights; the same version again when nothing was trained in between."""
        ...

    def get_state(self) -> StateTree:
        """Copy everything from which training goes on exactly as if it had never stopped.

        `version` in it is that of the weights. It grows by one per update and may be set higher: a group
        that goes back to an earlier state then still publishes newer versions.
        """
        ...

    def set_state(self, state: StateTree) -> None:
        """Take over what `get_state` returned; raises ValueError when it does not fit."""
        ...
