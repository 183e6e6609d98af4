"""Which policies a runner holds the weights of: all that play, and those played last, up to a bound.

at most 3, who plays     red blue      red green     red old        red blue
held                     red blue      + green       + old - blue   + blue - green

Where anybody is missing, those who are known to play next come with them, as far as there is room:

at most 4, who plays     red blue      red green     red old
who plays next           red green     red old       red blue
held                     red blue      the same      + old - green
                         + green                     + blue
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.settings import EnvRunnerSettings

Numbers = NDArray[np.int32]
_AT_LEAST = 64
"""Policies of two layers take 20 to 40 kB each: this few are never worth a message of their own."""


class HeldPolicies:
    """Chooses whose weights are dropped for those of others; holds none itself."""

    def __init__(self, at_most: int) -> None:
        """Hold none yet, and later as many as this, of which no more ever play at a time."""
        self._at_most = at_most
        self._is_held = np.zeros(0, np.bool_)
        """By number, as are all arrays here."""
        self._last_played = np.zeros(0, np.int64)
        self._now = 0
        self._was_dropped = False

    @property
    def numbers(self) -> Numbers:
        """Who is held, ascending."""
        return np.flatnonzero(self._is_held).astype(np.int32)

    def play(self, policies: Numbers, soon: Callable[[], Numbers] | None = None) -> tuple[Numbers, Numbers]:
        """Note who plays from now on; return who is to be fetched, and who is dropped for it.

        Those to be fetched are held from here on. Where there are any, `soon` is asked who plays next.
        """
        self._know(policies)
        self._now += 1
        self._last_played[policies] = self._now
        missing = np.unique(policies[~self._is_held[policies]])
        if len(missing) and soon is not None:
            missing = np.union1d(missing, self._missing_soon(soon())).astype(np.int32)
        self._is_held[missing] = True
        return missing, self._drop_oldest()

    def lose(self, policies: Numbers) -> None:
        """Hold these no more: they did not come."""
        self._is_held[policies] = False

    def admit(self, policies: Numbers) -> NDArray[np.bool_]:
        """Return for each of the policies that were sent without being asked for whether it is kept.

        New ones are where there is room for all and nobody was ever dropped. Later the sender may
        have sent what it did not know to be dropped, and would not send its next version.
        """
        self._know(policies)
        is_new = ~self._is_held[policies]
        num_held = int(np.count_nonzero(self._is_held))
        if not self._was_dropped and num_held + np.count_nonzero(is_new) <= self._at_most:
            self._is_held[policies] = True
        return self._is_held[policies]

    def keep_only(self, policies: Numbers) -> Numbers:
        """Drop all others, because they are gone; return them."""
        gone = self._is_held.copy()
        gone[policies[policies < len(gone)]] = False
        self._is_held &= ~gone
        return np.flatnonzero(gone).astype(np.int32)

    def _missing_soon(self, soon: Numbers) -> Numbers:
        """Return who of those is to be fetched; room is kept for the others of them that are held."""
        self._know(soon)
        is_new = self._last_played[soon] < self._now
        num_room = self._at_most - int(np.count_nonzero(self._last_played == self._now))
        chosen = np.unique(soon[is_new])[:num_room]
        self._last_played[chosen] = self._now
        missing: Numbers = chosen[~self._is_held[chosen]]
        return missing

    def _drop_oldest(self) -> Numbers:
        num_over = int(np.count_nonzero(self._is_held)) - self._at_most
        if num_over <= 0:
            return np.zeros(0, np.int32)
        idle = np.flatnonzero(self._is_held & (self._last_played < self._now))
        oldest = idle[np.argsort(self._last_played[idle], kind="stable")[:num_over]]
        self._is_held[oldest] = False
        self._was_dropped = True
        return np.sort(oldest).astype(np.int32)

    def _know(self, policies: Numbers) -> None:
        """Make the arrays as long as the numbers are high."""
        num_more = int(policies.max(initial=-1)) + 1 - len(self._is_held)
        if num_more > 0:
            self._is_held = np.append(self._is_held, np.zeros(num_more, np.bool_))
            self._last_played = np.append(self._last_played, np.zeros(num_more, np.int64))


def most_policies(settings: EnvRunnerSettings, num_agents: int) -> int:
    """Return how many policies a runner holds at most. Raises ValueError where more may play at a time."""
    num_playing = settings.num_envs_per_env_runner * num_agents
    at_most = settings.max_policies_per_env_runner
    if at_most is None:
        return max(_AT_LEAST, 2 * num_playing)
    if at_most < num_playing:
        raise ValueError(
            f"max_policies_per_env_runner is {at_most}, and {settings.num_envs_per_env_runner} environment "
            f"copies of {num_agents} agents may play {num_playing} policies at a time; raise it to "
            f"{num_playing}, or leave it out"
        )
    return at_most
