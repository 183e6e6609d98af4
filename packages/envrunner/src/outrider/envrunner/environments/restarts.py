"""Counts the environments that had to be rebuilt, and gives up when one fails again and again.

Axis: S = environments.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_LOGGER = logging.getLogger("outrider.envrunner")
_EVERY_S = 10.0
"""Every copy may fail at each of its steps."""


class EnvironmentsFailedError(RuntimeError):
    """Raised where an environment failed more often than the settings allow."""


class Restarts:
    """Logs failures and limits those in a row, for each environment copy by itself.

    An error is logged with its traceback once; where it comes again, in one line, and at most one in 10 s.
    """

    def __init__(
        self,
        max_env_restarts: int,
        first_environment: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Allow `max_env_restarts` failures of a copy without an episode of it ending in between.

        Copies are told apart by index; the log calls the first one `first_environment`.
        """
        self._first = first_environment
        self._limit = max_env_restarts
        self._clock = clock
        self._quiet_until = -math.inf
        self._num_untold = 0
        self._in_a_row: Counter[int | None] = Counter()
        self._told: set[str] = set()
        self.num_restarts = 0
        """Failures since whoever reads this set it to zero."""

    def record(self, environment: int | None, error: BaseException) -> None:
        """Log a failure of one copy, or of all (None). Raises EnvironmentsFailedError beyond the limit."""
        self._in_a_row[environment] += 1
        in_a_row = self._in_a_row[environment]
        name = (
            "the vector environment"
            if environment is None
            else f"environment copy {self._first + environment}"
        )
        if in_a_row > self._limit:
            raise EnvironmentsFailedError(
                f"{name} failed {in_a_row} times without ending an episode, and max_env_restarts is "
                f"{self._limit}; the last error was {type(error).__name__}: {error}. Correct the environment "
                "or raise max_env_restarts"
            ) from error
        self.num_restarts += 1
        if self._clock() < self._quiet_until:
            self._num_untold += 1
            return
        self._quiet_until = self._clock() + _EVERY_S
        num_untold, self._num_untold = self._num_untold, 0
        what = f"{type(error).__name__}: {error}"
        is_news = what not in self._told
        self._told.add(what)
        _LOGGER.error(
            "%s failed and is rebuilt (%d of at most %d in a row%s)%s",
            name,
            in_a_row,
            self._limit,
            f", after {num_untold} failures that were not told" if num_untold else "",
            "" if is_news else f": {what}",
            exc_info=error if is_news else None,
        )

    def forgive(self, ended_S: NDArray[np.bool_]) -> None:
        """Start counting anew for copies that ended an episode."""
        if self._in_a_row:
            for environment in np.flatnonzero(ended_S).tolist():
                self._in_a_row.pop(environment, None)
                self._in_a_row.pop(None, None)
