"""How busy the cores of this machine are, whatever keeps them busy."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

PROC_STAT = Path("/proc/stat")


class BusyCores:
    """Reads how long all cores together worked and rested."""

    def __init__(self, path: Path = PROC_STAT) -> None:
        """Start the clock; `path` is the kernel's count of clock ticks since it started."""
        self._path = path
        self._before = _ticks(path)

    def share(self) -> float | None:
        """Return the share of the time since the last call, 0 to 1; None where the system does not say."""
        now, before = _ticks(self._path), self._before
        if now is None or before is None or sum(now) <= sum(before):
            return None
        self._before = now
        worked = now[0] - before[0]
        return worked / (sum(now) - sum(before))


def _ticks(path: Path) -> tuple[int, int] | None:
    """Return the ticks in which cores worked, and in which they rested."""
    with suppress(OSError), path.open() as file:
        # cpu user nice system idle iowait irq softirq steal guest guest_nice; proc(5)
        user, nice, system, idle, iowait, irq, softirq, *_ = map(int, file.readline().split()[1:])
        return user + nice + system + irq + softirq, idle + iowait
    return None
