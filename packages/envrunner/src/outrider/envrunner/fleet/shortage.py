"""Waits for runners that come by themselves: says so ever less often, and knows when it was long enough."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

_LOGGER = logging.getLogger("outrider.envrunner")
_TOLD_FIRST_S = 30.0
"""From when on it is told less and less often that others are waited for."""


class Shortage:
    """How long fewer runners have been up than a run needs that others may join."""

    def __init__(self, *, num_needed: int, timeout_s: float, clock: Callable[[], float]) -> None:
        """Nobody was waited for yet."""
        self._num_needed = num_needed
        self._timeout_s = timeout_s
        self._clock = clock
        self._since = self._tell_at = math.inf
        self.where = "nobody says where"
        """Says where others are waited for."""

    def is_there(self, num_up: int) -> bool:
        """Whether these are fewer than a run needs."""
        return num_up < self._num_needed

    @property
    def deadline(self) -> float:
        """When others are to be waited for aloud, or no longer."""
        return min(self._since + self._timeout_s, self._tell_at)

    def watch(self, num_up: int) -> TimeoutError | None:
        """Say that others are waited for, where it is time to. Returns an error after too long."""
        now = self._clock()
        if not self.is_there(num_up):
            self._since = self._tell_at = math.inf
        elif self._since == math.inf:
            self._since, self._tell_at = now, -math.inf  # until it has been heard where
        elif now >= self._since + self._timeout_s:
            self._since = math.inf
            return TimeoutError(
                f"{num_up} runners are up and min_runners is {self._num_needed}, and no others joined within "
                f"join_timeout_s={self._timeout_s:g}: {self.where}; start a farm, or correct its address"
            )
        elif now >= self._tell_at:
            self._tell_at = now + max(_TOLD_FIRST_S, now - self._since)
            _LOGGER.warning(
                "waiting for runners, %.0f s at most: %d are up and min_runners is %d: %s",
                self._since + self._timeout_s - now,
                num_up,
                self._num_needed,
                self.where,
            )
        return None
