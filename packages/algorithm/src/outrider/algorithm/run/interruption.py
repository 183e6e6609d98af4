"""Ctrl-C and SIGTERM: the first asks a run to stop after its iteration, the second stops it at once."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


class Interruption:
    """Listens for the two signals; outside of the main thread Python has none to listen for."""

    def __init__(self, tell: Callable[[], None]) -> None:
        """Nothing has been asked for yet; `tell` is called by the first signal, in its handler."""
        self._tell = tell
        self.signal: signal.Signals | None = None
        """What asked the run to stop, or None."""
        self._at_once = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals over, and give them back."""
        in_main_thread = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if in_main_thread else ()
        before = {number: signal.signal(number, self._receive) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within this block the first signal raises KeyboardInterrupt: there is nothing to finish."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _receive(self, number: int, _frame: FrameType | None) -> Any:  # noqa: ANN401 - as signal wants it
        again, self.signal = self.signal is not None, signal.Signals(number)
        if not again:
            self._tell()
        if again or self._at_once:
            raise KeyboardInterrupt
        sys.stderr.write("\nstopping after this iteration; once more stops at once, without a checkpoint\n")
