"""Closes environments. One that fails to close is logged, because nothing depends on it any more."""

from __future__ import annotations

import logging
from typing import Any, Protocol

_LOGGER = logging.getLogger("outrider.envrunner")


class Closable(Protocol):
    """An environment, or a vector environment."""

    def close(self) -> Any:  # noqa: ANN401 - nobody looks at it
        """Let go of what it holds."""
        ...


def close_if_it_can(environment: Any) -> None:  # noqa: ANN401 - environments have no common type
    """Close one of the user's, which need have nothing to close."""
    close = getattr(environment, "close", None)
    if close is not None:
        close()


def close_all(*environments: Closable) -> None:
    """Close each, whatever happens to the others."""
    for environment in environments:
        try:
            environment.close()
        except Exception:
            _LOGGER.warning("%s failed to close", environment, exc_info=True)
