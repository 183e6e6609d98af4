"""What two peers tell each other first, and the rule that decides whether they can work together.

    connecting side  -- Hello -->  answering side: welcome = answer_hello(hello, own)
                     <- Welcome -

Nothing here moves bytes over a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, order=True, slots=True)
class ProtocolVersion:
    """A version of the wire protocol."""

    major: int
    """Peers of different major versions refuse each other."""
    minor: int
    """Peers use what the smaller of their minor versions has."""

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


PROTOCOL = ProtocolVersion(1, 1)
"""What this version of outrider-wire speaks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hello:
    """How a peer introduces itself."""

    component: str
    """Who speaks, as an operator would say it: "envrunner 0.3.1"."""
    protocol: ProtocolVersion = PROTOCOL
    versions: Mapping[str, str] = field(default_factory=dict)
    """Version of each of its distributions. They make logs readable and decide nothing."""
    environment_fingerprint: str = ""
    """Of the environment that it steps or trains for; empty where it has none."""
    policy_fingerprint: str = ""
    """Of the module whose graph it holds, or which it trains; empty where it has none yet."""
    capabilities: frozenset[str] = frozenset()
    """What it can do beyond what its protocol version demands."""
    required_capabilities: frozenset[str] = frozenset()
    """Those of them without which it cannot work with its peer."""

    def __post_init__(self) -> None:
        missing = self.required_capabilities - self.capabilities
        if missing:
            raise ValueError(f"requires {sorted(missing)} without having them; add them to `capabilities`")


class RefusalReason(Enum):
    """Why a peer is refused, for programs."""

    UNKNOWN = "unknown"
    """A reason that a newer peer knows."""
    PROTOCOL = "protocol"
    ENVIRONMENT = "environment"
    CAPABILITY = "capability"


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why a peer is refused."""

    reason: RefusalReason
    sentence: str
    """For people: what either side has, and what to do about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Welcome:
    """The answer to a `Hello`: what the two will use, or why they will not."""

    component: str
    """Who answers."""
    protocol: ProtocolVersion = PROTOCOL
    """The newest that it speaks."""
    refusal: Refusal | None = None
    """None where the two can work together. Otherwise nothing below holds, and the connection ends."""
    agreed_minor: int = 0
    """The minor version that both use."""
    capabilities: frozenset[str] = frozenset()
    """Those that both have."""
    policy_fingerprint: str = ""
    """Of the module in force. A runner with another graph fetches this one's before it acts."""
    versions: Mapping[str, str] = field(default_factory=dict)


def answer_hello(hello: Hello, own: Hello) -> Welcome:
    """Decide what the answering side, which would introduce itself as `own`, says to `hello`.

    Different major versions, environments, or a required capability that the other lacks: refused.
    Different minor versions work with the smaller one. A policy graph that is out of date is no reason
    to refuse, since it is fetched.
    """
    refusal = _refusal(hello, own)
    if refusal is not None:
        return Welcome(component=own.component, protocol=own.protocol, refusal=refusal)
    return Welcome(
        component=own.component,
        protocol=own.protocol,
        agreed_minor=min(hello.protocol.minor, own.protocol.minor),
        capabilities=hello.capabilities & own.capabilities,
        policy_fingerprint=own.policy_fingerprint,
        versions=own.versions,
    )


def _refusal(hello: Hello, own: Hello) -> Refusal | None:
    if hello.protocol.major != own.protocol.major:
        older = hello.component if hello.protocol < own.protocol else own.component
        return Refusal(
            reason=RefusalReason.PROTOCOL,
            sentence=(
                f"{hello.component} speaks wire protocol {hello.protocol} and {own.component} speaks "
                f"{own.protocol}, and major versions must be equal; upgrade {older}"
            ),
        )
    environments = {hello.environment_fingerprint, own.environment_fingerprint} - {""}
    if len(environments) > 1:
        return Refusal(
            reason=RefusalReason.ENVIRONMENT,
            sentence=(
                f"{hello.component} has environment {hello.environment_fingerprint} and {own.component} "
                f"trains for {own.environment_fingerprint}; give both the same environment and arguments"
            ),
        )
    for needing, other in ((hello, own), (own, hello)):
        missing = needing.required_capabilities - other.capabilities
        if missing:
            return Refusal(
                reason=RefusalReason.CAPABILITY,
                sentence=(
                    f"{needing.component} needs {', '.join(sorted(missing))}, which {other.component} does "
                    f"not have; upgrade {other.component} or switch this off in {needing.component}"
                ),
            )
    return None
