"""Says who speaks, in the handshake of runners and those who ask them for fragments."""

from __future__ import annotations

import importlib.metadata

from outrider.wire import Hello


def introduction(who: str, capabilities: frozenset[str] = frozenset()) -> Hello:
    """Say who speaks and what it can do, with the versions of the packages that the two sides share."""
    names = ("outrider-envrunner", "outrider-transport", "outrider-wire")
    versions = {name: importlib.metadata.version(name) for name in names}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Hello(component=f"{who} ({listed})", versions=versions, capabilities=capabilities)
