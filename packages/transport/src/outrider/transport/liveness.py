"""When to send a heartbeat, when a silent or slow peer is given up, and when one sends too much.

Nothing here knows a clock: times are given, in seconds. A process that itself stood still (stopped, swapped
out, asleep with the laptop) must not blame the other side: what that sent meanwhile is not read yet.
"""

from __future__ import annotations

from dataclasses import dataclass

from outrider.wire.session import Terms

MIN_BYTES_PER_S = 16 * 2**10
"""Slowest large message that is waited for, averaged over `PACE_WINDOW_S`."""
MAX_ARRIVAL_S = 300.0
"""A large message of one that dialled takes no longer, so that memory cannot be held for next to nothing."""
MAX_MIN_BYTES_PER_S = 2**20
"""More than that is asked of nobody, however large the message."""
PACE_WINDOW_S = 10.0
FLOOD_WINDOW_S = 5.0
"""Time over which the number of messages is averaged."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What `Liveness.check` found."""

    wants_heartbeat: bool
    is_silent: bool
    next_check: float


class Liveness:
    """Whether both sides of a connection keep to the terms."""

    def __init__(self, terms: Terms, now: float) -> None:
        self._interval = terms.heartbeat_interval_s
        self._timeout = terms.silence_timeout_s
        self._sent = self._heard = now
        self._next_check = now
        self._stood_still_s, self._stood_until = 0.0, now

    @property
    def timeout_s(self) -> float:
        """Silence after which a peer is given up."""
        return self._timeout

    def sent(self, now: float) -> None:
        """Note that something was sent."""
        self._sent = now

    def heard(self, now: float) -> None:
        """Note that something came."""
        self._heard = now

    def check(self, now: float) -> Checked:
        """Say what to do now; to be called again at `next_check`."""
        overdue_s = now - self._next_check
        if overdue_s > self._interval:
            self._heard = self._stood_until = now
            self._stood_still_s = overdue_s
        is_silent = now - self._heard >= self._timeout
        wants_heartbeat = now - self._sent >= self._interval
        if wants_heartbeat:
            self._sent = now
        self._next_check = min(self._sent + self._interval, self._heard + self._timeout)
        return Checked(wants_heartbeat, is_silent, self._next_check)

    def stood_still_s(self, now: float) -> float:
        """For how long this process has just stood still, if so long that the other side has given it up."""
        overdue_s = now - self._next_check
        if overdue_s <= self._interval and now - self._stood_until <= self._interval:
            overdue_s = self._stood_still_s
        return overdue_s if overdue_s >= self._timeout - self._interval else 0.0


class Pace:
    """Whether a large message comes fast enough."""

    def __init__(self, num_bytes_missing: int, now: float, *, is_of_stranger: bool) -> None:
        """Wait for so many bytes; of those who dialled, the faster the more they are."""
        self._missing = num_bytes_missing
        self._since = now
        wanted = min(int(num_bytes_missing / MAX_ARRIVAL_S), MAX_MIN_BYTES_PER_S) if is_of_stranger else 0
        self.min_bytes_per_s = max(MIN_BYTES_PER_S, wanted)
        """What is asked for."""

    @property
    def next_check(self) -> float:
        """When `is_too_slow` is to be called."""
        return self._since + PACE_WINDOW_S

    def is_too_slow(self, num_bytes_missing: int, now: float) -> bool:
        """Tell whether less came since the last check than may be expected."""
        stood_still = now - self.next_check > PACE_WINDOW_S / 2
        came = self._missing - num_bytes_missing
        self._missing, self._since = num_bytes_missing, now
        return came < self.min_bytes_per_s * PACE_WINDOW_S and not stood_still


class MessageRate:
    """Whether a peer sends more messages than it may."""

    def __init__(self, max_messages_per_s: int, now: float) -> None:
        self._max = max_messages_per_s * FLOOD_WINDOW_S
        self._since = now
        self._count = 0

    @property
    def sentence(self) -> str:
        """What to say to one that does."""
        return f"more than {self._max:g} messages came within {FLOOD_WINDOW_S:g} s; send fewer, larger ones"

    def is_too_high(self, now: float) -> bool:
        """Count a message."""
        if now - self._since >= FLOOD_WINDOW_S:
            self._since, self._count = now, 0
        self._count += 1
        return self._count > self._max
