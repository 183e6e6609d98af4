"""What a runner's process tells its parent: one JSON object to a line, on a pipe of their own."""

from __future__ import annotations

import json
import os
import threading
import time

from outrider.envrunner.farm.farm_ending import Ended

_REPORT_S = 1.0


class RunnerEvents:
    """Tells the parent what happens: a `RunnerWitness`. Safe to use from any thread."""

    def __init__(self, descriptor: int | None, *, only_the_last: bool = False) -> None:
        """Write to this descriptor, where there is one; `only_the_last`: no more than how it ended."""
        self._descriptor = descriptor
        self._only_the_last = only_the_last
        self._lock = threading.Lock()
        self._num_env_steps = 0
        self._told_at = 0.0
        if descriptor is not None:
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - not ours

    def connected(self, sentence: str) -> None:
        self._tell("connected", sentence)

    def seated(self, known: str) -> None:
        self._tell("seated", "", session=known)

    def lost(self, sentence: str) -> None:
        self._tell("lost", sentence)

    def parted(self, sentence: str) -> None:
        self._tell("parted", sentence)

    def noticed(self, sentence: str) -> None:
        self._tell("noticed", sentence)

    def waits(self, sentence: str) -> None:
        self._tell("waits", sentence)

    def sampled(self, num_env_steps: int, version: int) -> None:
        """Count, and tell about once a second."""
        self._num_env_steps += num_env_steps
        now = time.monotonic()
        if now >= self._told_at + _REPORT_S:
            self._told_at = now
            num_env_steps, self._num_env_steps = self._num_env_steps, 0
            self._tell("sampled", "", steps=num_env_steps, version=version)

    def ended(self, ended: Ended) -> None:
        self._tell("ended", ended.sentence, ending=ended.ending.value)

    def _tell(self, event: str, text: str, **numbers: str | int) -> None:
        if self._descriptor is None or (self._only_the_last and event != "ended"):
            return
        line = json.dumps({"event": event, "text": text, **numbers}) + "\n"
        with self._lock:
            try:
                os.write(self._descriptor, line.encode())
            except OSError:
                self._descriptor = None  # the parent has died, which the process notices by itself
