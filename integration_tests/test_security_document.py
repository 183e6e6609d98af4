"""The commands of docs/security.md make files that let farms in, and nobody else; tokens stay secret."""

from __future__ import annotations

import logging
import re
import subprocess
from pathlib import Path

import pytest

from outrider.envrunner.farm.runner_orders import RunnerOrders
from outrider.transport.addresses import check_listen, read_tokens
from outrider.transport.connection import Connection, DialError
from outrider.transport.grpc_dialer import dial
from outrider.transport.grpc_listener import Listener
from outrider.transport.security import ClientSecurity, ServerSecurity

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "security.md"
SERVICE = "outrider.wire.v1.RunnerService/Sample"


class Deaf:
    def opened(self, connection: Connection) -> None: ...

    def received(self, connection: Connection, head: bytes, attachment: memoryview | None) -> None: ...

    def closed(self, connection: Connection, reason: str) -> None: ...


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    found = re.search(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    script = found[1].replace("trainer.example.com", "localhost")
    subprocess.run(["sh", "-ec", script], cwd=made, check=True, capture_output=True, timeout=60)
    return made


def server(folder: Path) -> ServerSecurity:
    return ServerSecurity(
        certificate=folder / "gateway.pem",
        key=folder / "gateway.key",
        client_ca=folder / "ca.pem",
        tokens=read_tokens(folder / "token", {}),
    )


def client(folder: Path, token: str) -> ClientSecurity:
    return ClientSecurity(
        ca=folder / "ca.pem", certificate=folder / "farm.pem", key=folder / "farm.key", token=token
    )


def test_the_files_let_a_farm_in_and_a_wrong_token_does_not(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (token,) = read_tokens(folder / "token", {})
    check_listen("0.0.0.0:50051", server(folder), insecure=False)
    listener = Listener("localhost:0", {SERVICE: Deaf()}, security=server(folder))
    try:
        dial(listener.address, SERVICE, Deaf(), security=client(folder, token), timeout_s=10).close()
        for _ in range(3):
            with pytest.raises(DialError, match="this token is not let in") as caught:
                dial(listener.address, SERVICE, Deaf(), security=client(folder, "guess"), timeout_s=10)
    finally:
        listener.close()
    told = [line for line in caplog.messages if "did not let" in line]
    assert len(told) == 1
    assert listener.num_refused == 3
    assert not any(secret in line for secret in (token, "guess") for line in [*told, str(caught.value)])


def test_keys_and_token_are_for_their_owner_alone(folder: Path) -> None:
    for name in ("ca.key", "gateway.key", "farm.key", "token"):
        assert (folder / name).stat().st_mode & 0o077 == 0


def test_tokens_are_in_no_text_of_what_holds_them(folder: Path) -> None:
    (token,) = read_tokens(folder / "token", {})
    orders = RunnerOrders(address="a", name="b", component="c", token=token, session=token)
    for holder in (server(folder), client(folder, token), orders):
        assert token not in f"{holder!r} {holder}"
