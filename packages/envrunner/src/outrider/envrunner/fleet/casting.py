"""Tells each runner elsewhere, before it is asked again, which policies a run has by now."""

from __future__ import annotations

from outrider.envrunner.fleet.remote_runners import RemoteRunners
from outrider.envrunner.fleet.roster import Roster
from outrider.envrunner.policies.cast import Cast


class Casting:
    """Knows who was told what. A runner that is made anew knows no more than the plan."""

    def __init__(self, remote: RemoteRunners, roster: Roster, *, timeout_s: float) -> None:
        """Let all act as planned; a runner that does not answer within `timeout_s` is lost."""
        self._remote = remote
        self._roster = roster
        self._timeout_s = timeout_s
        self._cast: Cast | None = None
        self._told: dict[int, tuple[int, Cast]] = {}
        """By runner, the incarnation that was told, and what."""

    def change(self, cast: Cast) -> None:
        """Let runners act so from the next fragment on that they are asked for.

        Raises ValueError for what cannot reach them.
        """
        self._remote.check_cast(cast)
        self._cast = cast

    def reaches(self, index: int) -> bool:
        """Tell a runner that is up, unless it knows; blocks while it samples. False where it is lost."""
        if self._cast is None:
            return True
        now = self._roster.incarnations[index], self._cast
        before = self._told.get(index)
        if before is not None and before[0] == now[0] and before[1] is now[1]:
            return True
        try:
            self._remote.recast(index, self._cast, self._timeout_s)
        except (ConnectionError, TimeoutError) as error:
            self._roster.lose(index, f"it could not be told of other policies: {error}")
            return False
        self._told[index] = now
        return True
