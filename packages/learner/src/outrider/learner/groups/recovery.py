"""What a group of ranks goes back to when one of them dies, and how often it may. Free of torch and Ray."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from outrider.learner.learner import StateTree

E = TypeVar("E", bound=ConnectionError)
R = TypeVar("R")

_LOGGER = logging.getLogger("outrider.learner")


class Recovery:
    """The newest snapshot of the learners, and the count of what was lost.

    Versions only grow: learners that went back to version 30 after 37 was seen go on from 38.
    """

    def __init__(self, state: StateTree, *, num_updates_between_snapshots: int, max_restarts: int) -> None:
        """Take the state before the first update, which stays in this process's memory."""
        self._snapshot = state
        self._every = num_updates_between_snapshots
        self._max_restarts = max_restarts
        self._in_a_row = 0
        self.version: int = state["version"]
        """The newest that is known of."""
        self.num_restarts = 0
        self.num_lost_updates = 0
        self.num_lost_rows = 0
        """Counted by whoever finds them lost."""

    @property
    def is_due(self) -> bool:
        """Whether it is time for a snapshot."""
        return self.version - int(self._snapshot["version"]) >= self._every

    def learned(self, version: int) -> None:
        """Note that the learners are at `version`."""
        self.version = version
        self._in_a_row = 0

    def changed(self, num_changes: int, version: int) -> None:
        """Note that so many versions were made by changes that are kept elsewhere, not by updates."""
        self._snapshot = self._snapshot | {"version": int(self._snapshot["version"]) + num_changes}
        self.version = version

    def keep(self, state: StateTree) -> None:
        """Take a newer state for the snapshot, also of a version that nobody has reported."""
        self._snapshot = state
        self.version = max(self.version, int(state["version"]))

    def set_state(self, state: StateTree) -> None:
        """Go on from a state that the user chose."""
        self._snapshot = state
        self.version = int(state["version"])

    def go_back(self, reason: str, *, of: str = "", version: int | None = None) -> StateTree:
        """Return the state that new learners go on from. Raises RuntimeError after too many in a row.

        It gets `version`, or the next one after what is known. `of` says whose updates are lost.
        """
        if self._in_a_row >= self._max_restarts:
            raise RuntimeError(
                f"the learners were lost {self._in_a_row + 1} times in a row without an update in between, "
                f"the last time because {reason}; max_learner_restarts={self._max_restarts} allows no more: "
                "see to the cause, or raise it"
            )
        lost = self.version - int(self._snapshot["version"])
        self._in_a_row += 1
        self.num_restarts += 1
        self.num_lost_updates += lost
        _LOGGER.warning(
            "the learners go back by %d update%s%s, to their newest snapshot, because %s (restart %d of at "
            "most %d in a row)",
            lost,
            "" if lost == 1 else "s",
            of,
            reason,
            self._in_a_row,
            self._max_restarts,
        )
        self.version = self.version + 1 if version is None else version
        self._snapshot = self._snapshot | {"version": self.version}
        return self._snapshot


def until_done(call: Callable[[], R], go_back: Callable[[E], object], lost: type[E]) -> R:
    """Return the result of `call`, which is made again after `go_back` as often as something is lost."""
    while True:
        try:
            return call()
        except lost as error:
            go_back(error)
