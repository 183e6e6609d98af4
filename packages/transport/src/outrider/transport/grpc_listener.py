"""The side that is dialled: lets peers in who may come, and makes a connection of each stream."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from time import monotonic
from typing import Any, NoReturn

from outrider.transport import grpc_options
from outrider.transport.addresses import Address, check_free, parse_address
from outrider.transport.connection import Receiver
from outrider.transport.grpc_loop import wait_for
from outrider.transport.grpc_options import grpc
from outrider.transport.security import ServerSecurity, is_known, why_unusable
from outrider.transport.stream_connection import StreamConnection
from outrider.wire import Limits

FIRST_MESSAGE_TIMEOUT_S = 10.0
"""Time that a peer has to introduce itself."""
_START_TIMEOUT_S = 20.0
_TELL_EVERY_S = 10.0
"""How often the log says who was not let in: whoever knocks must not be able to fill it."""
_LOGGER = logging.getLogger(__name__)
_HEALTH, _SERVING = "grpc.health.v1.Health", b"\x08\x01"


class Listener:
    """Listens from the moment it is made until `close`."""

    def __init__(
        self,
        address: str,
        services: Mapping[str, Receiver],
        *,
        security: ServerSecurity,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
        max_connections_per_identity: int = 1024,
        max_messages_per_s: int = 20_000,
    ) -> None:
        """Listen at "host:port" or "unix:path"; port 0 lets the system choose.

        The keys of `services` are "outrider.wire.v1.RunnerService/Sample" and so on; each stream of one is
        a connection for its receiver. Messages per second are averaged over 5 s. Raises ValueError for an
        address or files that cannot be used, and OSError where the port is in use.
        """
        self._asked = parse_address(address)
        self._services = services
        self._security = security
        self._limits = limits
        self._max_per_identity = max_connections_per_identity
        self._max_messages_per_s = max_messages_per_s
        self._num_connections: Counter[str] = Counter()
        self.num_refused = 0
        """Streams that were not let in: no token, a wrong one, too many."""
        self._told_at, self._num_told = -inf, 0
        credentials = _credentials(security)
        check_free(self._asked)
        self._server, self._bound = wait_for(lambda: self._start(credentials), _START_TIMEOUT_S)

    @property
    def address(self) -> str:
        """Where it really listens."""
        return str(self._bound)

    def close(self, grace_s: float = 0.0) -> None:
        """Let nobody in any more, give connections `grace_s` to end, and break those that do not."""
        wait_for(lambda: self._stop(grace_s), grace_s + _START_TIMEOUT_S)

    async def _start(self, credentials: grpc.ServerCredentials | None) -> tuple[Any, Address]:
        server = grpc.aio.server(options=grpc_options.SERVER)
        for path, receiver in self._services.items():
            service, _, method = path.rpartition("/")
            handler = grpc.stream_stream_rpc_method_handler(self._handler(receiver))
            server.add_generic_rpc_handlers((_generic(service, method, handler),))
        health = grpc.unary_unary_rpc_method_handler(_check_health)
        server.add_generic_rpc_handlers((_generic(_HEALTH, "Check", health),))
        target = grpc_options.target(self._asked)
        if credentials is None:
            port = server.add_insecure_port(target)
        else:
            port = server.add_secure_port(target, credentials)
        await server.start()
        return server, self._asked if self._asked.path else Address(self._asked.host, port)

    async def _stop(self, grace_s: float) -> None:
        await self._server.stop(grace_s)

    def _handler(self, receiver: Receiver) -> Callable[[Any, Any], Awaitable[None]]:
        async def serve(_: object, context: Any) -> None:  # noqa: ANN401  (gRPC has no types)
            identity = await self._admit(context)
            self._num_connections[identity] += 1
            try:
                # Tells the side that dials that it is let in.
                await context.send_initial_metadata((grpc_options.LET_IN,))
                connection = StreamConnection(
                    _ServerStream(context),
                    receiver,
                    peer=grpc_options.shown(context.peer()),
                    identity=identity,
                    limits=self._limits,
                    max_messages_per_s=self._max_messages_per_s,
                    first_message_timeout_s=FIRST_MESSAGE_TIMEOUT_S,
                )
                await connection.run()
            finally:
                self._num_connections[identity] -= 1
                self._num_connections += Counter()  # forgets those at 0

        return serve

    async def _admit(self, context: Any) -> str:  # noqa: ANN401
        """Return whom the peer has proved to be, or end the stream with a status that says why not."""
        identity = ""
        if self._security.client_ca is not None:
            identity = _subject(context.auth_context())
        if self._security.tokens:
            metadata = dict(context.invocation_metadata() or ())
            scheme, _, token = str(metadata.get("authorization", "")).partition(" ")
            if scheme.lower() != "bearer" or not token:
                await self._refuse(
                    context,
                    grpc.StatusCode.UNAUTHENTICATED,
                    "a token is needed to connect here and none came; give the token file, "
                    "or send the metadata `authorization: Bearer TOKEN`",
                )
            if not is_known(token, self._security.tokens):
                await self._refuse(
                    context,
                    grpc.StatusCode.UNAUTHENTICATED,
                    "this token is not let in; give the one that the side that listens was started with",
                )
            identity = identity or f"token:{hashlib.sha256(token.encode()).hexdigest()[:12]}"
        if self._num_connections[identity] >= self._max_per_identity:
            await self._refuse(
                context,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"{self._max_per_identity} connections of the same token or certificate are open, "
                "and no more are let in; close some, or use another token",
            )
        return identity

    async def _refuse(self, context: Any, status: grpc.StatusCode, sentence: str) -> NoReturn:  # noqa: ANN401
        self.num_refused += 1
        now = monotonic()
        if now - self._told_at >= _TELL_EVERY_S:
            num_others = self.num_refused - self._num_told - 1
            others = f" ({num_others} others since the last such line)" if num_others else ""
            peer = grpc_options.shown(context.peer())
            _LOGGER.warning("did not let %s in: %s%s", peer, sentence, others)
            self._told_at, self._num_told = now, self.num_refused
        await context.abort(status, sentence)
        raise AssertionError  # `abort` has raised


class _ServerStream:
    """A `Stream` of gRPC, seen from the side that was dialled."""

    def __init__(self, context: Any) -> None:  # noqa: ANN401
        self._context = context

    async def read(self) -> bytes | None:
        message = await self._reading(self._context.read())
        return None if message is grpc.aio.EOF else message

    async def write(self, message: bytes) -> None:
        await self._reading(self._context.write(message))

    async def finish(self) -> None:
        """Nothing: the stream ends when its handler returns."""

    @staticmethod
    async def _reading(call: Awaitable[Any]) -> Any:  # noqa: ANN401
        try:
            return await call
        except (
            grpc.RpcError,
            grpc.aio.UsageError,
            grpc.aio.InternalError,
            asyncio.InvalidStateError,
        ) as error:
            raise ConnectionError("the connection broke") from error


def _generic(service: str, method: str, handler: Any) -> Any:  # noqa: ANN401
    return grpc.method_handlers_generic_handler(service, {method: handler})


async def _check_health(request: bytes, context: object) -> bytes:  # noqa: ARG001  (gRPC calls it so)
    return _SERVING


def _credentials(security: ServerSecurity) -> grpc.ServerCredentials | None:
    if security.certificate is None:
        if security.key is not None or security.client_ca is not None:
            raise ValueError("a key or a client CA without a certificate; give the server's certificate too")
        return None
    if security.key is None:
        raise ValueError(f"the certificate {security.certificate} without its private key; give the key too")
    try:
        # gRPC says nothing of use about files that it cannot use.
        checked = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=security.client_ca)
        checked.load_cert_chain(security.certificate, security.key)
        pair = security.key.read_bytes(), security.certificate.read_bytes()
        client_ca = None if security.client_ca is None else security.client_ca.read_bytes()
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(
            f"the certificate {security.certificate}, its key or the client CA cannot be used: "
            f"{why_unusable(error)}; give PEM files that belong together"
        ) from error
    return grpc.ssl_server_credentials([pair], client_ca, require_client_auth=client_ca is not None)


def _subject(auth_context: Mapping[str, Any]) -> str:
    """Name the holder of the client's certificate."""
    found = auth_context.get("x509_common_name") or auth_context.get("x509_pem_cert") or (b"",)
    name = found[0]
    if not auth_context.get("x509_common_name"):
        name = hashlib.sha256(name).hexdigest()[:12].encode()
    return f"certificate:{name.decode(errors='replace')}"
