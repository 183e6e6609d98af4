from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from outrider.transport.security import why_unusable


def test_what_openssl_says_of_a_file_is_told_without_its_codes() -> None:
    with pytest.raises(ssl.SSLError) as failure:
        ssl.create_default_context().load_verify_locations(cadata=b"\x30\x03no")
    assert "_ssl.c" in str(failure.value)
    said = why_unusable(failure.value)
    assert said
    assert not set("_[]()") & set(said)


def test_that_a_key_belongs_to_another_certificate_is_told_in_words() -> None:
    error = ssl.SSLError(1, "[X509: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:3926)")
    assert why_unusable(error) == "key values mismatch"


def test_a_file_that_is_missing_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as failure:
        (tmp_path / "ca.pem").read_bytes()
    assert why_unusable(failure.value) == "No such file or directory"
