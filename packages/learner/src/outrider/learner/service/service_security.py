"""From a run's settings to what it shows a learner service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from outrider.learner.plans.group_settings import LearnerGroupSettings
from outrider.transport.addresses import is_loopback, read_tokens
from outrider.transport.security import ClientSecurity


def client_security(settings: LearnerGroupSettings, environ: Mapping[str, str]) -> ClientSecurity:
    """Read the token, and choose TLS where the service is not on this machine.

    Raises ValueError for a file that is not there or holds nothing.
    """
    assert settings.learner_address is not None
    is_plain = is_loopback(settings.learner_address) and settings.learner_tls_ca is None
    tokens = read_tokens(settings.learner_token_file, environ)
    return ClientSecurity(
        insecure=settings.learner_insecure or is_plain,
        ca=_path(settings.learner_tls_ca),
        certificate=_path(settings.learner_tls_certificate),
        key=_path(settings.learner_tls_key),
        token=tokens[0] if tokens else "",
    )


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)
