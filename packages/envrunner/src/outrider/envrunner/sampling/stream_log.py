"""Numbers the streams of a fragment. Axes: S = agent slots of all copies, N = rows.

Every slot begins with the stream that has its number, and gets another one when its policy changes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]


class StreamLog:
    """Whose each stream is, who acts in it with which weights, and when it began."""

    def __init__(self, policy_S: NDArray[np.int32], stack_S: Indices, version_S: NDArray[np.int64]) -> None:
        """Begin with a stream for each slot."""
        self.slot = np.arange(len(policy_S))
        self.policy, self.stack, self._version = policy_S, stack_S, version_S
        self._since = [-1]
        self._stream_S = [self.slot]

    def change(
        self,
        number: int,
        slots: Indices,
        policy: NDArray[np.int32],
        stack: Indices,
        version: NDArray[np.int64],
    ) -> None:
        """Begin new streams for some slots, in step `number`."""
        stream_S = self._stream_S[-1].copy()
        stream_S[slots] = len(self.slot) + np.arange(len(slots))
        self.slot = np.append(self.slot, slots)
        self.policy = np.append(self.policy, policy)
        self.stack = np.append(self.stack, stack)
        self._version = np.append(self._version, version)
        self._since.append(number)
        self._stream_S.append(stream_S)

    def versions(self, slots: Indices, steps: Indices) -> NDArray[np.int64]:
        """Return the version of the weights [N] that acted for each slot in a step."""
        if (self._version == self._version[0]).all():
            return np.full(len(slots), self._version[0])
        return self._version[self.of(slots, steps)]

    def of(self, slots: Indices, steps: Indices) -> Indices:
        """Return the stream [N] of each slot in a step."""
        if len(self._since) == 1:
            return slots
        which = np.searchsorted(self._since, steps, side="right") - 1
        streams: Indices = np.array(self._stream_S)[which, slots]
        return streams
