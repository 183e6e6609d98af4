"""Says who speaks, in the handshake of learners and those who drive them."""

import importlib.metadata

from outrider.wire import Hello, capabilities

SEVERAL_POLICIES = frozenset({"multi_agent", "learned_policies"})
"""What both sides can do where there are several policies: read messages that have them, and train them."""


def introduction(who: str, needs: frozenset[str] = frozenset()) -> Hello:
    """Say who speaks and what the other side must be able to do, with the versions that the two share."""
    names = ("outrider-learner", "outrider-rlmodule", "outrider-transport", "outrider-wire")
    versions = {name: importlib.metadata.version(name) for name in names}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Hello(
        component=f"{who} ({listed})",
        versions=versions,
        capabilities=capabilities() | SEVERAL_POLICIES,
        required_capabilities=needs,
    )
