"""Orders in which a learner of one policy goes through its rows, or streams. Axes: N items."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from outrider.learner.rows import shuffles


class RowOrders(Protocol):
    """Draws an order for each pass over the rows of an update."""

    def begin(self, update: int) -> None:
        """Go on with the passes of update number `update`."""
        ...

    def draw(self, num_items: int) -> Tensor:
        """Return the order [N] of the next pass."""
        ...

    def skip(self) -> None:
        """Leave the order of a pass out in which it makes no difference."""
        ...


class DrawnOrders:
    """Orders by a generator; obeys `RowOrders`."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def begin(self, update: int) -> None:
        pass

    def draw(self, num_items: int) -> Tensor:
        return torch.randperm(num_items, generator=self._generator)

    def skip(self) -> None:
        pass


class KeyedOrders:
    """The orders that a policy of a stack has by its key, see `shuffles`; obeys `RowOrders`."""

    def __init__(self, key: int) -> None:
        self._key_P = np.array([key], np.uint64)
        self._update_P = np.zeros(1, np.int64)
        self._pass = 0

    def begin(self, update: int) -> None:
        self._update_P[0], self._pass = update, 0

    def draw(self, num_items: int) -> Tensor:
        (order_N,) = shuffles.orders(self._key_P, self._update_P, self._pass, np.array([num_items]))
        self._pass += 1
        return torch.from_numpy(order_N)

    def skip(self) -> None:
        self._pass += 1
