"""The side that dials."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

from outrider.transport import grpc_options
from outrider.transport.addresses import Address, is_loopback, parse_address
from outrider.transport.connection import Connection, DialError, Receiver
from outrider.transport.dial_failure import refused, unreachable
from outrider.transport.grpc_loop import wait_for
from outrider.transport.grpc_options import grpc
from outrider.transport.security import ClientSecurity, why_unusable
from outrider.transport.stream_connection import StreamConnection
from outrider.wire import Limits

_REFUSAL_S = 0.5
_running: set[asyncio.Task[None]] = set()  # asyncio itself holds tasks weakly


def dial(
    address: str,
    service: str,
    receiver: Receiver,
    *,
    security: ClientSecurity,
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    timeout_s: float,
) -> Connection:
    """Open a stream of `service` at "host:port" or "unix:path"; blocks until the other side has let it in.

    `receiver.opened` was called when this returns. Raises DialError where nobody answers within
    `timeout_s`, or this side is not let in, and ValueError for an address or files that cannot be used.
    """
    parsed = parse_address(address)
    credentials = _credentials(security)

    async def open_() -> StreamConnection | tuple[str, str]:
        return await _open(parsed, service, receiver, credentials, security, limits, timeout_s)

    opened = wait_for(open_)
    if isinstance(opened, StreamConnection):
        return opened
    status, details = opened
    if status in {"UNAVAILABLE", "UNKNOWN", "INTERNAL"}:
        raise unreachable(parsed, details, security)
    if status == "DEADLINE_EXCEEDED":
        raise DialError(
            f"nobody answered at {parsed} within {timeout_s:g} s; check the address, and firewalls between",
            is_final=False,
        )
    raise refused(parsed, service, status, details)


async def _open(
    address: Address,
    service: str,
    receiver: Receiver,
    credentials: Any,  # noqa: ANN401  (gRPC has no types)
    security: ClientSecurity,
    limits: Limits,
    timeout_s: float,
) -> StreamConnection | tuple[str, str]:
    """Return the connection, or the status and the details that came instead."""
    target, options = grpc_options.target(address), grpc_options.CLIENT
    if is_loopback(str(address)):
        options = (*options, ("grpc.enable_http_proxy", 0))
    if credentials is None:
        channel = grpc.aio.insecure_channel(target, options=options)
    else:
        channel = grpc.aio.secure_channel(target, credentials, options=options)
    metadata = (("authorization", f"Bearer {security.token}"),) if security.token else ()
    call = channel.stream_stream(f"/{service}")(metadata=metadata)
    try:
        begun = await asyncio.wait_for(call.initial_metadata(), timeout_s)
        if grpc_options.LET_IN not in set(begun or ()):
            # Refused, if it ends at once; or the side that listens does not say so.
            with suppress(TimeoutError):
                await asyncio.wait_for(call.code(), _REFUSAL_S)
        refusal = (((await call.code()).name), str(await call.details())) if call.done() else None
    except TimeoutError:
        refusal = "DEADLINE_EXCEEDED", ""
    except BaseException:
        call.cancel()
        await channel.close()
        raise
    if refusal is not None:
        call.cancel()
        await channel.close()
        return refusal
    connection = StreamConnection(_ClientStream(call), receiver, peer=str(address), limits=limits)

    async def run() -> None:
        try:
            await connection.run()
        finally:
            call.cancel()
            await channel.close()

    running = asyncio.get_running_loop().create_task(run())
    _running.add(running)
    running.add_done_callback(_running.discard)
    await asyncio.sleep(0)  # `run` begins, and calls `opened`
    return connection


class _ClientStream:
    """A `Stream` of gRPC, seen from the side that dialled."""

    def __init__(self, call: Any) -> None:  # noqa: ANN401
        self._call = call

    async def read(self) -> bytes | None:
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise ConnectionError(_ended(error)) from error
        return None if message is grpc.aio.EOF else message

    async def write(self, message: bytes) -> None:
        try:
            await self._call.write(message)
        except grpc.aio.AioRpcError as error:
            raise ConnectionError(_ended(error)) from error
        except asyncio.InvalidStateError as error:
            raise ConnectionError("the other side closed the connection") from error

    async def finish(self) -> None:
        """Say so, and wait until the other side has taken everything and says the same."""
        await self._call.done_writing()
        await self._call.code()


def _ended(error: grpc.aio.AioRpcError) -> str:
    details = error.details() or error.code().name
    # gRPC says INTERNAL where it was writing when the line broke.
    if details == "Internal error from Core":
        return "the connection broke while something was sent"
    if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}:
        return f"the connection broke: {details}"
    return f"the other side ended the connection: {details}"


def _credentials(security: ClientSecurity) -> Any:  # noqa: ANN401
    if security.insecure:
        return None
    if (security.certificate is None) != (security.key is None):
        raise ValueError("a client's certificate goes with its private key; give both or neither")
    try:
        # gRPC says nothing of use about files that it cannot use.
        checked = ssl.create_default_context(cafile=security.ca)
        if security.certificate is not None:
            checked.load_cert_chain(security.certificate, security.key)
        files = [_read(file) for file in (security.ca, security.key, security.certificate)]
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(
            f"the CA {security.ca}, or the certificate {security.certificate} with its key, cannot be used: "
            f"{why_unusable(error)}; give PEM files that belong together"
        ) from error
    return grpc.ssl_channel_credentials(*files)


def _read(file: Path | None) -> bytes | None:
    return None if file is None else Path(file).read_bytes()
