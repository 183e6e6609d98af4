"""How long to wait before dialling again: longer each time, and never the same for two peers."""

from __future__ import annotations

import random

_FIRST_S, _LONGEST_S = 0.5, 30.0


class BackOff:
    """Pauses drawn from [0, b], where b doubles from half a second up to 30 s.

    Whole pauses are drawn, and not a part of them, so that a thousand runners whose gateway restarts do
    not come back in waves ("full jitter", https://aws.amazon.com/blogs/architecture/).
    """

    def __init__(self, draw: random.Random | None = None) -> None:
        """Begin with short pauses."""
        self._draw = draw or random.Random()  # noqa: S311 - no secret
        self._num_failures = 0

    def next_s(self) -> float:
        """Return the pause after one more failure."""
        longest_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(self._num_failures, 10))
        self._num_failures += 1
        return self._draw.uniform(0.0, longest_s)

    def succeed(self) -> None:
        """Begin again with short pauses."""
        self._num_failures = 0
