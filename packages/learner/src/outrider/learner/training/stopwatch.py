"""Seconds that the parts of an update take."""

import time


class Stopwatch:
    """Seconds between laps. On a GPU, work that is under way counts to the lap that waits for it."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
