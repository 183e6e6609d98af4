"""Says who speaks, in the handshake of learners and those who drive them."""

import importlib.metadata

from outrider.wire import Hello


def introduction(who: str) -> Hello:
    """Say who speaks, with the versions of the packages that the two sides share."""
    names = ("outrider-learner", "outrider-rlmodule", "outrider-transport", "outrider-wire")
    versions = {name: importlib.metadata.version(name) for name in names}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Hello(component=f"{who} ({listed})", versions=versions)
