"""What an algorithm sees of its training loop, synchronous or asynchronous."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from outrider.algorithm.loops.iteration import Iteration
from outrider.transport import WeightsReference


class TrainingLoop(Protocol):
    """Collects, learns and publishes. Whoever made the runners and learners closes them."""

    @property
    def weights(self) -> WeightsReference:
        """The newest weights that are known here."""
        ...

    def iterate(self) -> Iteration:
        """Run one iteration, of at least one update, and say what it did."""
        ...

    def settle(self) -> None:
        """Bring `weights` to what `get_state` would return now."""
        ...

    def interrupt(self) -> None:
        """Let an iteration that waits for runners end by WaitInterruptedError; safe in a signal handler."""
        ...

    def get_state(self) -> dict[str, Any]:
        """Return {"learner": tree, "runners": tree}, from which training goes on."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned, before the first iteration. Raises ValueError."""
        ...
