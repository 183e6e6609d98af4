"""Says in this process that environments fail in others, now and then and in one line."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

_LOGGER = logging.getLogger("outrider.envrunner")
_EVERY_S = 10.0


class FailureLines:
    """Adds up what runners elsewhere tell of environments that were rebuilt."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with no failure."""
        self._clock = clock
        self._num_failures = 0
        self._quiet_until = -math.inf

    def add(self, index: int, num_failures: int) -> None:
        """Count the failures of runner `index` since its fragment before; log the first, and seldom more."""
        if not num_failures:
            return
        self._num_failures += num_failures
        if self._clock() < self._quiet_until:
            return
        self._quiet_until = self._clock() + _EVERY_S
        _LOGGER.warning(
            "environments that failed and were rebuilt so far: %d, the last one in runner %d; what its "
            "process or farm prints says why (on Ray: logs/worker-*.err in its session's directory there)",
            self._num_failures,
            index,
        )
