"""How a farm, or a runner of it, ends, and the exit code that says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Ending(Enum):
    """Why nothing more is sampled."""

    OVER = "over"
    """The gateway said that the run is over."""
    DRAINED = "drained"
    """It was asked to end, and has finished what it was asked for before."""
    FAILED = "failed"
    """Its environment failed, or it broke a rule of the gateway's."""
    UNUSABLE = "unusable"
    """What was typed cannot be: there is no such environment."""
    REFUSED = "refused"
    """The gateway does not take it: versions, spaces, settings, token, certificate."""
    GAVE_UP = "gave up"
    """No gateway was there for too long."""

    @property
    def exit_code(self) -> int:
        """Return what a command ends with."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Ending.OVER: 0,
    Ending.DRAINED: 0,
    Ending.FAILED: 1,
    Ending.UNUSABLE: 2,
    Ending.REFUSED: 3,
    Ending.GAVE_UP: 4,
}


@dataclass(frozen=True, slots=True)
class Ended:
    """That it has ended, and why."""

    ending: Ending
    sentence: str = ""
    """For people. Empty where nothing is wrong."""
