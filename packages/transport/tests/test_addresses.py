from __future__ import annotations

from pathlib import Path

import pytest

from outrider.transport.addresses import (
    Address,
    check_listen,
    is_guarded,
    is_loopback,
    parse_address,
    read_tokens,
)
from outrider.transport.security import ServerSecurity, is_known

SECURE = ServerSecurity(certificate=Path("certificate.pem"), key=Path("key.pem"), tokens=("token",))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("gateway.example:50051", Address(host="gateway.example", port=50051)),
        ("127.0.0.1:0", Address(host="127.0.0.1", port=0)),
        ("[::1]:50051", Address(host="::1", port=50051)),
        ("unix:run/gateway", Address(path="run/gateway")),
    ],
)
def test_an_address_is_read_and_written_the_same(written: str, expected: Address) -> None:
    assert parse_address(written) == expected
    assert str(expected) == written


@pytest.mark.parametrize("written", ["", "host", "host:", ":50051", "host:port", "host:65536", "host:-1"])
def test_what_is_no_address_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(ValueError, match=r"give host:port, as in 127\.0\.0\.1:50051"):
        parse_address(written)


def test_ipv6_wants_brackets_and_a_socket_a_path() -> None:
    with pytest.raises(ValueError, match="give an IPv6 address in brackets"):
        parse_address("::1:50051")
    with pytest.raises(ValueError, match="names no socket"):
        parse_address("unix:")


@pytest.mark.parametrize("address", ["localhost:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "unix:socket"])
def test_loopback_needs_neither_tls_nor_token(address: str) -> None:
    assert is_loopback(address)
    check_listen(address, ServerSecurity(), insecure=False)


@pytest.mark.parametrize("address", ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "gateway.example:1"])
def test_elsewhere_both_are_needed_unless_insecure_is_said(address: str) -> None:
    assert not is_loopback(address)
    check_listen(address, SECURE, insecure=False)
    check_listen(address, ServerSecurity(), insecure=True)
    with pytest.raises(ValueError, match="no TLS certificate is given; make one with `openssl req"):
        check_listen(address, ServerSecurity(tokens=("token",)), insecure=False)
    with pytest.raises(ValueError, match="no token is given; make one with `openssl rand -hex 32"):
        check_listen(address, ServerSecurity(certificate=SECURE.certificate, key=SECURE.key), insecure=False)


def test_tokens_come_from_a_file_or_else_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("first\n\n  second \n")
    assert read_tokens(file, {"OUTRIDER_TOKEN": "third"}) == ("first", "second")
    assert read_tokens(None, {"OUTRIDER_TOKEN": "third"}) == ("third",)
    assert read_tokens(None, {}) == ()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\n", "is empty"),
        (b"two words", "holds no token"),
        (b"\xff\xfe", "not text"),
        (None, "No such file"),
    ],
)
def test_a_token_file_that_holds_none_is_refused(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=expected) as caught:
        read_tokens(file, {})
    assert "two words" not in str(caught.value)


def test_a_token_is_known_or_not() -> None:
    assert is_known("b", ("a", "b"))
    assert not is_known("", ("a", "b"))
    assert not is_known("ab", ("a", "b"))
    assert not is_known("a", ())


def test_what_is_sent_is_guarded_by_tls_or_by_not_leaving_the_machine() -> None:
    assert is_guarded("gateway.example:1", SECURE)
    assert is_guarded("unix:socket", ServerSecurity())
    assert is_guarded("127.0.0.1:1", ServerSecurity())
    assert not is_guarded("gateway.example:1", ServerSecurity(tokens=("token",)))
