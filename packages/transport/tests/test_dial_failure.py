from __future__ import annotations

import gc
from pathlib import Path

import pytest

from outrider.transport.addresses import Address
from outrider.transport.dial_failure import _connect, refused, unreachable
from outrider.transport.security import ClientSecurity

THERE = Address(host="gateway.example", port=50051)
TLS = "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:50051: Tls handshake failed: "


@pytest.mark.parametrize(
    ("details", "expected", "is_final"),
    [
        (f"{TLS}CERTIFICATE_VERIFY_FAILED: certificate has expired: OK", "has expired; renew it there", True),
        (f"{TLS}CERTIFICATE_VERIFY_FAILED: self signed certificate", "give the CA that signed it", True),
        ("last error: Hostname Verification Check failed.", "dial a name that is in it", True),
        (f"{TLS}WRONG_VERSION_NUMBER: Invalid", "does not speak TLS", True),
        ("last error: Failed parsing HTTP/2 (Expected SETTINGS)", "does not speak gRPC", True),
        ("Failed to connect to remote host: Connection refused", "nobody listens there", False),
        ("connect: No such file or directory", "no such socket", False),
        ("address lookup failed for x:1: Domain name not found", "no host of that name", False),
        ("last error: UNKNOWN: something: No route to host", "cannot be reached: No route to host", False),
        (
            "Unexpected <class 'TypeError'>: open() takes 1",
            "failed while it let this side in, <class 'Ty",
            True,
        ),
    ],
)
def test_why_nobody_could_be_reached_is_said_in_a_sentence(
    details: str, expected: str, is_final: bool
) -> None:
    error = unreachable(THERE, details, ClientSecurity(insecure=True))
    assert expected in str(error)
    assert "gateway.example:50051" in str(error)
    assert error.is_final is is_final


@pytest.mark.parametrize(
    ("status", "expected", "is_final"),
    [
        ("UNAUTHENTICATED", "does not let this side in: no token came", True),
        ("UNIMPLEMENTED", "has no service a.B/C", True),
        ("RESOURCE_EXHAUSTED", "ended the connection at once: no token came", False),
    ],
)
def test_why_one_was_not_let_in_is_said_in_a_sentence(status: str, expected: str, is_final: bool) -> None:
    error = refused(THERE, "a.B/C", status, "no token came")
    assert expected in str(error)
    assert error.is_final is is_final


def test_a_probe_that_nobody_answers_leaves_no_socket_behind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _connect(Address(path=str(tmp_path / "nobody")))
    gc.collect()  # a socket that was not closed would warn here, and a warning is an error
