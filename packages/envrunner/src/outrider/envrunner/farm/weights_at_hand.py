"""The weights that a runner of a farm was sent and may still act with, and those that it acts with."""

from __future__ import annotations

from collections.abc import Sequence

from outrider.wire.session import Ask


class WeightsAtHand:
    """Keeps the newest, and older ones only where a fragment waits for exactly these."""

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self.held: int | None = None
        """Version of those that the runner acts with."""
        self._waiting: dict[int, memoryview] = {}
        """Those that it does not act with yet, by version."""

    @property
    def newest(self) -> int | None:
        """Version of the newest ones that are here."""
        return max([*self._waiting, *([] if self.held is None else [self.held])], default=None)

    def take(self, version: int, weights: memoryview, asks: Sequence[Ask]) -> None:
        """Take what was sent, and throw away what none of these asks wants."""
        self._waiting[version] = weights
        wanted = {ask.weights_version for ask in asks} | {max(self._waiting)}
        self._waiting = {kept: view for kept, view in self._waiting.items() if kept in wanted}

    def version_for(self, ask: Ask) -> int | None:
        """Return which are to act: those of the ask, or the newest. None: they are not here yet.

        Newer ones act also where those of the ask never came: they were lost with a connection, and the
        gateway has sent the newest instead.
        """
        if ask.weights_version in self._waiting:
            return ask.weights_version
        is_there = self.newest is not None and self.newest >= (ask.weights_version or 0)
        return self.newest if is_there else None

    def hold(self, version: int) -> memoryview | None:
        """Let these act from now on. Returns what the runner has to be given: None where it has them."""
        weights = None
        if self.held is None or version > self.held:
            weights, self.held = self._waiting[version], version
        self._waiting = {later: view for later, view in self._waiting.items() if later > self.held}
        return weights

    def forget(self) -> None:
        """Note that the runner has to be given its weights again: those here may leave out what it needs."""
        self.held = None
        self._waiting.clear()
