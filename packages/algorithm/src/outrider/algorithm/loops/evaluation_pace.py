"""Says now and then how far an evaluation is, where it takes long enough that somebody would wonder."""

from __future__ import annotations

import logging
import time

FIRST_S, INTERVAL_S = 5.0, 15.0
"""When something is said for the first time, and how often afterwards."""

log = logging.getLogger("outrider.algorithm")


class EvaluationPace:
    """Called after every step of an evaluation with the number of episodes that have ended."""

    def __init__(self, num_episodes: int) -> None:
        """Begin now."""
        self._num_episodes = num_episodes
        self._began = time.monotonic()
        self._next = self._began + FIRST_S

    def __call__(self, num_ended: int) -> None:
        """Log it if it is time."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + INTERVAL_S
        passed_s = now - self._began
        rest_s = passed_s * (self._num_episodes / num_ended - 1) if num_ended else None
        log.info(
            "evaluating without exploration: %d of %d episodes have ended after %.0f s%s; "
            "evaluation_duration says how many are played",
            num_ended,
            self._num_episodes,
            passed_s,
            "" if rest_s is None else f", about {rest_s:.0f} s to go",
        )
