"""What both sides set of gRPC, and how they read and write addresses in its manner."""

from __future__ import annotations

import os
from urllib.parse import unquote

from outrider.transport.addresses import Address

# gRPC writes to stderr what also comes as an error, and is then said in a sentence.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
import grpc

__all__ = ["CLIENT", "LET_IN", "SERVER", "grpc", "shown", "target"]

KEEPALIVE = (
    # Before terms are agreed a frozen peer is noticed after time + timeout, at most. Pings
    # travel behind what the system's buffers hold, up to 1 MiB: 51 s at 20 KiB/s. `keepalive_timeout_ms`
    # becomes TCP_USER_TIMEOUT, which ended slow connections too (both measured with gRPC 1.85).
    ("grpc.keepalive_time_ms", 2_500),
    ("grpc.keepalive_timeout_ms", 60_000),
    ("grpc.http2.ping_timeout_ms", 60_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)

SERVER = (
    *KEEPALIVE,
    # A server disconnects clients that ping more often than every 5 minutes unless it is told otherwise.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    # Whoever connects and opens no stream, which takes a token, is hung up on.
    ("grpc.max_connection_idle_ms", 30_000),
    # A port in use is an error; with this on, two servers would share it.
    ("grpc.so_reuseport", 0),
)

CLIENT: tuple[tuple[str, int], ...] = (
    *KEEPALIVE,
    # Dialling again tries at once: how long to wait is for the caller to say, and not for other channels'
    # failures.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)


LET_IN = ("outrider-let-in", "1")
"""Metadata with which a stream begins. One that is refused begins with none, a moment before it ends."""


def target(address: Address) -> str:
    """Write an address as gRPC wants it."""
    return f"unix:{address.path}" if address.path else f"{address}"


def shown(peer: str) -> str:
    """Write gRPC's name of a peer, "ipv4:127.0.0.1:50051", as people do."""
    kind, _, rest = unquote(peer).partition(":")
    return rest if kind in {"ipv4", "ipv6"} else unquote(peer)
