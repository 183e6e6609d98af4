"""Who may connect, and how what is sent is kept secret. Free of gRPC: names of files, and a token."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSecurity:
    """What a side that is dialled asks for. Without anything set, everybody is let in, unencrypted."""

    certificate: Path | None = None
    """PEM file with the server's certificate chain; with it TLS is on."""
    key: Path | None = None
    """PEM file with its private key."""
    client_ca: Path | None = None
    """PEM file of the authority that clients' certificates must be signed by (mutual TLS)."""
    tokens: tuple[str, ...] = field(default=(), repr=False)
    """Secrets, one of which a client must say. Never printed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientSecurity:
    """What a side that dials has to show."""

    insecure: bool = False
    """No TLS."""
    ca: Path | None = None
    """PEM file of the authority that the server's certificate must be signed by; None: the system's."""
    certificate: Path | None = None
    """PEM file with the client's own certificate, for mutual TLS."""
    key: Path | None = None
    """PEM file with its private key."""
    token: str = field(default="", repr=False)
    """Secret to say. Never printed."""


def is_known(token: str, tokens: tuple[str, ...]) -> bool:
    """Tell whether `token` is one of `tokens`, in a time that does not depend on which, or how nearly."""
    found = [hmac.compare_digest(token.encode(), each.encode()) for each in tokens]
    return any(found)


def why_unusable(error: OSError) -> str:
    """Say why files cannot be used, without what OpenSSL adds for those who develop it."""
    return re.sub(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$", "", error.strerror or str(error))
