"""Who sits at a gateway's seats: a runner elsewhere, or one here that plays a peer's environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from outrider.transport import WeightsReference


class Occupant(Protocol):
    """A runner as its seat sees it. Called under the gateway's lock: all but the states return at once."""

    @property
    def name(self) -> str:
        """For operators: "farm-7 runner 3 (10.0.0.7:40112)"."""
        ...

    def ask(self, sequence: int, weights: WeightsReference | None) -> None:
        """Ask for a fragment: its number in this seat's session, and which weights must act, if any must."""
        ...

    def offer(self, weights: WeightsReference) -> None:
        """Give newer weights. Those that were offered before and not yet sent are left out."""
        ...

    def get_state(self, timeout_s: float) -> Mapping[str, Any]:
        """Return the runner's state. Not under the lock. Raises ConnectionError or TimeoutError."""
        ...

    def set_state(self, state: Mapping[str, Any], timeout_s: float) -> None:
        """Let the runner go on from a state. Not under the lock. Raises as above."""
        ...

    def stop(self, sentence: str) -> None:
        """Send it away for good; nothing comes from it after this."""
        ...
