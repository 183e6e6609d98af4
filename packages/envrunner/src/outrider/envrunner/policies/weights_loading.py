"""Gives a runner newer weights, which may be gone with the process or node that held them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from outrider.transport import WeightsReference
from outrider.wire import Weights

_LOGGER = logging.getLogger("outrider.envrunner")


class LostWeightsError(ConnectionError):
    """Raised where weights that are to act do not come, because those who had them are gone or too slow."""


class TakesWeights(Protocol):
    """What is needed of a runner."""

    @property
    def version(self) -> int | None:
        """Version of the weights it has."""
        ...

    def set_weights(self, weights: Weights) -> None:
        """Act with these."""
        ...


@contextmanager
def saying_that_weights_are_lost() -> Iterator[None]:
    """Raise LostWeightsError where weights that are loaded here do not come."""
    try:
        yield
    except (ConnectionError, TimeoutError) as error:
        raise LostWeightsError(str(error)) from error


def load_newer(runner: TakesWeights, weights: WeightsReference | None) -> None:
    """Give `runner` these weights if they are newer than its own.

    Where they do not come it goes on with its own; its fragments say which version acted. Raises
    LostWeightsError where it has none.
    """
    if weights is None or (runner.version is not None and weights.version <= runner.version):
        return
    try:
        loaded = weights.load()
    except (ConnectionError, TimeoutError) as error:
        if runner.version is None:
            raise LostWeightsError(f"it has no weights to begin with: {error}") from error
        _LOGGER.warning("a runner goes on with version %d of the weights: %s", runner.version, error)
        return
    runner.set_weights(loaded)
