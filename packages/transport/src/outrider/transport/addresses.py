"""Where a side listens, where one dials, and what must be secret there."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from outrider.transport.security import ServerSecurity

TOKEN_VARIABLE = "OUTRIDER_TOKEN"  # noqa: S105  (the name of a variable)


@dataclass(frozen=True, slots=True)
class Address:
    """A host with a port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        """Return it as a user writes it."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(address: str) -> Address:
    """Read "host:port", "[IPv6]:port" or "unix:path". Raises ValueError."""
    kind, _, rest = address.partition(":")
    if kind == "unix":
        path = rest.removeprefix("//")
        if not path:
            raise ValueError(f"{address!r} names no socket; give unix:path/of/the/socket")
        return Address(path=path)
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{address!r} is ambiguous; give an IPv6 address in brackets, as in [::1]:50051")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is no address; give host:port, as in 127.0.0.1:50051, or unix:path")
    return Address(host=host, port=int(port))


def is_loopback(address: str) -> bool:
    """Tell whether only processes of this machine can be on the other side."""
    parsed = parse_address(address)
    if parsed.path or parsed.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(parsed.host).is_loopback
    except ValueError:
        return False


def is_guarded(address: str, security: ServerSecurity) -> bool:
    """Tell whether damage to what is sent from there is noticed on the way: TLS, or only this machine."""
    return security.certificate is not None or is_loopback(address)


def check_free(address: Address) -> None:
    """Raise OSError, in a sentence, where one cannot listen at `address`."""
    try:
        if address.path:
            _check_no_listener(address.path)
            return
        family, *_, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(place)
    except OSError as error:
        cure = "choose another port, or 0 for any" if error.errno == errno.EADDRINUSE else "check the address"
        raise OSError(f"cannot listen at {address}: {error.strerror}; {cure}") from error


def _check_no_listener(path: str) -> None:
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such directory")
    if Path(path).exists():  # of a process that is gone, unless one answers
        with socket.socket(socket.AF_UNIX) as tried, suppress(ConnectionRefusedError):
            tried.connect(path)
            raise OSError(errno.EADDRINUSE, "another process listens there")


def check_listen(address: str, security: ServerSecurity, *, insecure: bool) -> None:
    """Raise ValueError where others than this machine could connect without TLS or without a token.

    With `insecure` they may.
    """
    if insecure or is_loopback(address):
        return
    if security.certificate is None or security.key is None:
        host = parse_address(address).host
        raise ValueError(
            f"{address} can be reached from other machines, and no TLS certificate is given; make one with "
            "`openssl req -x509 -newkey rsa:2048 -nodes -days 365 -keyout key.pem -out certificate.pem "
            f'-subj "/CN={host}" -addext "subjectAltName=DNS:the.name.that.is.dialled"`, '
            "or say insecure where the network is trusted"
        )
    if not security.tokens:
        raise ValueError(
            f"{address} can be reached from other machines, and no token is given; make one with "
            "`openssl rand -hex 32 > token` and give that file to both sides, "
            "or say insecure where the network is trusted"
        )


def read_tokens(file: Path | str | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the tokens of a file, one on each line, or the one in OUTRIDER_TOKEN where no file is given.

    Raises ValueError for a file that cannot be read, is empty, or holds what no token can be.
    """
    if file is None:
        token = environ.get(TOKEN_VARIABLE, "").strip()
        return (_checked(token, TOKEN_VARIABLE),) if token else ()
    try:
        lines = Path(file).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise ValueError(f"the token file {file} cannot be read: {reason}") from error
    tokens = tuple(_checked(line.strip(), f"a line of {file}") for line in lines if line.strip())
    if not tokens:
        raise ValueError(f"the token file {file} is empty; write a token into it: `openssl rand -hex 32`")
    return tokens


def _checked(token: str, where: str) -> str:
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError(
            f"{where} holds no token: one is printable ASCII without spaces; "
            "make one with `openssl rand -hex 32`"
        )
    return token
