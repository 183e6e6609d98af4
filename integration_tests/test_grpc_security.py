"""TLS and tokens decide who is let in, and whoever is not is told why in a sentence."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from outrider.testing.noted_connections import (
    READY,
    Notes,
    connect,
    listening,
)
from outrider.transport.connection import DialError
from outrider.transport.grpc_listener import Listener
from outrider.transport.security import ClientSecurity, ServerSecurity

TOKEN, OTHER_TOKEN = "a-secret-that-nobody-prints", "another-secret"


def make_certificates(folder: Path) -> None:
    """Make two authorities, and certificates of a server and clients, with openssl."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def request(name: str, subject: str) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)

    def sign(name: str, authority: str, names: str, days: str) -> None:
        (folder / "names").write_text(f"subjectAltName={names}\n")
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", days),
            *(
                "-CA",
                f"{authority}.pem",
                "-CAkey",
                f"{authority}.key",
                "-CAcreateserial",
                "-extfile",
                "names",
            ),
        )

    for authority in ("ca", "other-ca"):
        request(authority, f"/CN={authority}")
        (folder / "authority").write_text("basicConstraints=critical,CA:TRUE\n")
        openssl(
            *("x509", "-req", "-in", f"{authority}.csr", "-out", f"{authority}.pem", "-days", "2"),
            *("-signkey", f"{authority}.key", "-extfile", "authority"),
        )
    for name, authority, names, days in (
        ("server", "ca", "IP:127.0.0.1,DNS:localhost", "2"),
        ("expired", "ca", "IP:127.0.0.1", "-1"),
        ("elsewhere", "ca", "DNS:elsewhere.example", "2"),
        ("farm", "ca", "DNS:farm", "2"),
        ("stranger", "other-ca", "DNS:farm", "2"),
    ):
        request(name, f"/CN={name}")
        sign(name, authority, names, days)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.mark.parametrize(
    ("server", "client_ca", "ca", "client", "expected"),
    [
        ("server", None, "ca", None, None),
        ("server", "ca", "ca", "farm", None),
        ("server", None, "other-ca", None, "not signed by an authority that is trusted here"),
        ("expired", None, "ca", None, "its certificate has expired"),
        ("elsewhere", None, "ca", None, "its certificate was made for another name"),
        ("server", "ca", "ca", None, "does not accept the certificate of this side"),
        ("server", "ca", "ca", "stranger", "does not accept the certificate of this side"),
        (None, None, "ca", None, "it does not speak TLS"),
        ("server", None, None, None, "expects TLS"),
    ],
)
def test_tls_lets_in_who_may_come_and_says_in_a_sentence_why_not(
    certificates: Path,
    server: str | None,
    client_ca: str | None,
    ca: str | None,
    client: str | None,
    expected: str | None,
) -> None:
    there, here = Notes(), Notes()
    asked = ServerSecurity(
        certificate=certificates / f"{server}.pem" if server else None,
        key=certificates / f"{server}.key" if server else None,
        client_ca=certificates / f"{client_ca}.pem" if client_ca else None,
    )
    shown = ClientSecurity(
        insecure=ca is None,
        ca=certificates / f"{ca}.pem" if ca else None,
        certificate=certificates / f"{client}.pem" if client else None,
        key=certificates / f"{client}.key" if client else None,
    )
    with listening(there, security=asked) as listener:
        if expected is None:
            connect(listener.address, here, shown).send(READY)
            assert there.message() == (READY, None)
            assert there.connection().identity == ("certificate:farm" if client else "")
        else:
            with pytest.raises(DialError, match=expected) as caught:
                connect(listener.address, here, shown)
            assert caught.value.is_final
            assert "\n" not in str(caught.value)


def test_tokens_decide_who_is_let_in_and_are_never_said() -> None:
    there = Notes()
    with listening(there, security=ServerSecurity(tokens=(OTHER_TOKEN, TOKEN))) as listener:
        connect(listener.address, Notes(), ClientSecurity(insecure=True, token=TOKEN))
        identity = there.connection().identity
        assert identity.startswith("token:")
        assert TOKEN not in identity
        for token, expected in (("wrong-token", "this token is not let in"), ("", "a token is needed")):
            with pytest.raises(DialError, match=expected) as caught:
                connect(listener.address, Notes(), ClientSecurity(insecure=True, token=token))
            assert caught.value.is_final
            assert not any(secret in str(caught.value) for secret in (TOKEN, OTHER_TOKEN, "wrong-token"))


def test_files_that_cannot_be_used_are_named_before_anything_listens(certificates: Path) -> None:
    mixed = ServerSecurity(certificate=certificates / "server.pem", key=certificates / "farm.key")
    with pytest.raises(ValueError, match=r"server\.pem, its key or the client CA cannot be used"):
        Listener("127.0.0.1:0", {}, security=mixed)
    missing = ClientSecurity(ca=certificates / "missing.pem")
    with pytest.raises(ValueError, match=r"missing\.pem.*No such file"):
        connect("127.0.0.1:1", Notes(), missing)
