"""What a farm's session gives its main thread to do, and whom it tells what becomes of the runner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from outrider.envrunner.farm.farm_ending import Ended
from outrider.wire import session


class AbandonedError(ConnectionError):
    """Raised where nobody waits any more for what is being sampled: the session it belongs to is over."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """Make a runner."""

    life: int
    """Counts the sessions; what belongs to an earlier one interests nobody any more."""
    assignment: session.Assignment
    graph: memoryview
    capabilities: frozenset[str]
    """Those that both sides have."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Sample a fragment."""

    life: int
    sequence: int
    weights: memoryview | None
    """To be set before; None where the runner has the right ones."""


@dataclass(frozen=True, slots=True)
class StateWanted:
    """Tell the runner's state, or take this one."""

    life: int
    request: int
    state: memoryview | None


Work = Assigned | Sample | StateWanted | Ended


class Witness(Protocol):
    """Who wants to know what becomes of a runner. Called by any thread; returns at once."""

    def connected(self, sentence: str) -> None:
        """A gateway has let the runner in; it may have to wait for a seat."""
        ...

    def seated(self, known: str) -> None:
        """The run has a seat for it, in the session that goes by this secret."""
        ...

    def lost(self, sentence: str) -> None:
        """The gateway is gone, or the connection to it."""
        ...

    def parted(self, sentence: str) -> None:
        """The gateway has said goodbye, and may be dialled again."""
        ...

    def noticed(self, sentence: str) -> None:
        """Something happened that people should know."""
        ...
