"""Copies of stacked weights for others to read, in memory that is used again. Axes: P policies."""

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MAX_COPIES = 3
"""One that is read, one that is written, and one for who is late."""


class StackedPublication:
    """Copies the weights of policies that changed since a copy was made that nobody looks at any more.

    New memory takes longer than what is copied into it, and longer than an update: P = 10,000 of 39 kB each,
    ms on one busy core: 700 to 900 for a new copy, 500 for an update. Safe where others drop arrays in their
    threads.
    """

    def __init__(self) -> None:
        self._copies: list[_Copy] = []

    def copy(
        self, tensors: Mapping[str, Tensor], number_P: NDArray[np.int32], version_P: NDArray[np.int64]
    ) -> dict[str, NDArray[Any]]:
        """Return arrays [P, ...] that nobody changes while somebody holds one of them, or a view of one.

        A policy whose number and version are those of before has the weights of before.
        """
        fitting = [one for one in self._copies if np.array_equal(one.number_P, number_P)]
        chosen = next((one for one in fitting if one.is_free()), None)
        if chosen is None:
            chosen = _Copy(tensors, number_P)
        self._copies = [chosen, *(one for one in fitting if one is not chosen)][:MAX_COPIES]
        chosen.write(tensors, version_P)
        return chosen.lend()

    def forget(self) -> None:
        """Copy all of the next weights, whatever their versions."""
        self._copies = []


class _Copy:
    def __init__(self, tensors: Mapping[str, Tensor], number_P: NDArray[np.int32]) -> None:
        self.number_P = number_P.copy()
        self._version_P = np.full(len(number_P), -1, np.int64)
        self._written = {name: torch.empty(t.shape, dtype=t.dtype) for name, t in tensors.items()}
        self._lent: list[weakref.ref[NDArray[Any]]] = []

    def is_free(self) -> bool:
        return all(lent() is None for lent in self._lent)

    def write(self, tensors: Mapping[str, Tensor], version_P: NDArray[np.int64]) -> None:
        place = np.flatnonzero(self._version_P != version_P)
        self._version_P = version_P.copy()
        for name, written in self._written.items():
            if 2 * len(place) > len(version_P):
                written.copy_(tensors[name])
            elif len(place):
                places = torch.from_numpy(place)
                written[places] = tensors[name][places.to(tensors[name].device)].to(written.device)

    def lend(self) -> dict[str, NDArray[Any]]:
        """Return arrays that live as long as anybody looks at them, unlike the memory behind."""
        arrays = {}
        self._lent = []
        for name, written in self._written.items():
            behind = written.numpy()
            # Views of the array hold it; a slice of `behind` they would look through, and hold `behind`.
            lent = np.frombuffer(behind.reshape(-1).data, behind.dtype)
            self._lent.append(weakref.ref(lent))
            arrays[name] = lent.reshape(behind.shape)
        return arrays
