"""Tells people what happens to the runners of a farm, and once what happens to all of them."""

from __future__ import annotations

from collections.abc import Callable

from outrider.envrunner.farm.farm_log import FarmLog

_WAITS_S = 5.0
"""How often at most it is said that there is no gateway, or why it went: all runners have the same one."""
_RESTARTS_S = 10.0
"""How often at most it is said that a runner is started anew: all play the same environment."""


class FarmNews:
    """Leaves out what was said a moment ago of another runner."""

    def __init__(self, log: FarmLog, clock: Callable[[], float]) -> None:
        """Nothing was said yet."""
        self._log = log
        self._clock = clock
        self._versions = {""}
        """Those of gateways that were told."""
        self._parted = ""
        self._parted_at = self._waits_at = self._restart_at = float("-inf")
        self._num_untold = 0
        """Runners that were started anew since that was said of one."""

    def connected(self, runner: int, text: str) -> None:
        """Leave out what stands in brackets, the versions of the gateway's packages, where it was said."""
        before, _, rest = text.partition(" (")
        versions, _, after = rest.partition(")")
        told = before + after if versions in self._versions else text
        self._versions.add(versions)
        self._log.say("connected", told, runner=runner)

    def parted(self, text: str) -> None:
        """Say once what a gateway says to all."""
        if text != self._parted or self._clock() >= self._parted_at + _WAITS_S:
            self._parted, self._parted_at = text, self._clock()
            self._log.say("parted", text, level="warning")

    def waits(self, runner: int, text: str) -> None:
        """Say now and then that there is no gateway."""
        if self._clock() >= self._waits_at + _WAITS_S:
            self._waits_at = self._clock()
            self._log.say("waits", text, level="warning", runner=runner)

    def restart(self, runner: int, text: str) -> None:
        """Say it of one runner now and then, and how many others there were."""
        if self._clock() < self._restart_at + _RESTARTS_S:
            self._num_untold += 1
            return
        if self._num_untold:
            text = f"{text} (and so were {self._num_untold} others since this was said)"
        self._restart_at, self._num_untold = self._clock(), 0
        self._log.say("restart", text, level="warning", runner=runner)
