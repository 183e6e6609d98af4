"""Says in a sentence why a peer could not be dialled, and whether trying again may help.

gRPC reports a failed handshake with the words of its TLS library, or as "Socket closed" where the other
side refused; then one more handshake, made here, finds out what it wanted.
"""

from __future__ import annotations

import socket
import ssl
from enum import Enum

from outrider.transport.addresses import Address
from outrider.transport.connection import DialError
from outrider.transport.security import ClientSecurity

_BUG = "Unexpected "
"""How gRPC begins when a side that listens raised an error that nobody has caught."""
_PROBE_TIMEOUT_S = 2.0

_TLS_FAILURES = {
    "certificate has expired": "its certificate has expired; renew it there",
    "certificate is not yet valid": "its certificate is not valid yet; compare the clocks of both machines",
    "Hostname Verification": "its certificate was made for another name; dial a name that is in it",
    "is not in peer certificate": "its certificate was made for another name; dial a name that is in it",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not signed by an authority that is trusted here; "
    "give the CA that signed it (tls_ca)",
    "WRONG_VERSION_NUMBER": "it does not speak TLS; dial it without (insecure), "
    "or start it with a certificate",
}
_FAILURES = (
    ("HTTP/2", "what answers there does not speak gRPC; check the port", True),
    ("refused", "nobody listens there; start that side first, or check the address", False),
    ("No such file", "there is no such socket; start that side first, or check the path", False),
    ("lookup failed", "no host of that name is known here; check the name", False),
)


def refused(address: Address, service: str, status: str, details: str) -> DialError:
    """Explain a status with which the other side ended the stream at once."""
    if status in {"UNAUTHENTICATED", "PERMISSION_DENIED"}:
        return DialError(f"{address} does not let this side in: {details}", is_final=True)
    if status == "UNIMPLEMENTED":
        sentence = f"{address} has no service {service}; dial the address of the right process"
        return DialError(sentence, is_final=True)
    return DialError(f"{address} ended the connection at once: {details or status}", is_final=False)


def unreachable(address: Address, details: str, security: ClientSecurity) -> DialError:
    """Explain why no connection came about; may block for some seconds to find out."""
    for words, sentence in _TLS_FAILURES.items():
        if words in details:
            return DialError(f"{address} cannot be trusted: {sentence}", is_final=True)
    if "Socket closed" in details or "reset" in details:
        return _closed(address, security)
    for words, sentence, is_final in _FAILURES:
        if words in details:
            return DialError(f"{sentence} ({address})", is_final=is_final)
    if details.startswith(_BUG):
        sentence = (
            f"{address} failed while it let this side in, {details.removeprefix(_BUG)}; see what it prints"
        )
        return DialError(sentence, is_final=True)
    words = details.rpartition(": ")[2] or "no reason is known"
    return DialError(f"{address} cannot be reached: {words}", is_final=False)


def _closed(address: Address, security: ClientSecurity) -> DialError:
    outcome = _probe(address, security)
    if security.insecure and outcome is not _Outcome.NO_TLS:
        sentence = f"{address} expects TLS; give the CA of its certificate (tls_ca), and not insecure"
        return DialError(sentence, is_final=True)
    if not security.insecure and outcome is _Outcome.HUNG_UP:
        return DialError(
            f"{address} does not accept the certificate of this side, or asks for one and got none; "
            "give a certificate and key that its client CA has signed",
            is_final=True,
        )
    return DialError(f"{address} closed the connection at once; it may be about to stop", is_final=False)


class _Outcome(Enum):
    """What came of a handshake that shows the client's certificate and asks nothing of the server's."""

    NO_TLS = "no TLS"
    HUNG_UP = "hung up"
    """With TLS 1.3 a client has shaken hands before the server looks at its certificate."""
    WELCOME = "welcome"
    """A server of gRPC speaks first."""


def _probe(address: Address, security: ClientSecurity) -> _Outcome:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is said that a stranger may not hear
    context.set_alpn_protocols(["h2"])
    if security.certificate is not None and not security.insecure:
        context.load_cert_chain(security.certificate, security.key)
    try:
        with _connect(address) as plain, context.wrap_socket(plain) as secure:
            try:
                return _Outcome.WELCOME if secure.recv(1) else _Outcome.HUNG_UP
            except OSError:
                return _Outcome.HUNG_UP
    except OSError:
        return _Outcome.NO_TLS


def _connect(address: Address) -> socket.socket:
    if not address.path:
        return socket.create_connection((address.host, address.port), _PROBE_TIMEOUT_S)
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(_PROBE_TIMEOUT_S)
    try:
        connected.connect(address.path)
    except OSError:
        connected.close()
        raise
    return connected
