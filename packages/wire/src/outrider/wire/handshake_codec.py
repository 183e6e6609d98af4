"""Hello and Welcome to and from their messages.

A peer of another major version must be refused by name, so its Hello is read in two steps: the frozen
fields, and the rest only where the major version is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from outrider.wire.frame import Bytes
from outrider.wire.goodbye_codec import read_sentence, write_sentence
from outrider.wire.handshake import PROTOCOL, Hello, ProtocolVersion, Refusal, RefusalReason, Welcome
from outrider.wire.limits import Limits
from outrider.wire.v1 import handshake_pb2
from outrider.wire.wire_error import WireError, reading

_REASONS: dict[handshake_pb2.Refusal.Reason, RefusalReason] = {
    handshake_pb2.Refusal.REASON_PROTOCOL: RefusalReason.PROTOCOL,
    handshake_pb2.Refusal.REASON_ENVIRONMENT: RefusalReason.ENVIRONMENT,
    handshake_pb2.Refusal.REASON_CAPABILITY: RefusalReason.CAPABILITY,
}
_REASON_NUMBERS = {reason: number for number, reason in _REASONS.items()} | {
    RefusalReason.UNKNOWN: handshake_pb2.Refusal.REASON_UNSPECIFIED
}


def encode_hello(hello: Hello) -> bytes:
    """Write a Hello."""
    message = handshake_pb2.Hello(
        protocol=_write_version(hello.protocol),
        component=hello.component,
        versions=_write_versions(hello.versions),
        environment_fingerprint=hello.environment_fingerprint,
        policy_fingerprint=hello.policy_fingerprint,
        capabilities=sorted(hello.capabilities),
        required_capabilities=sorted(hello.required_capabilities),
    )
    return bytes(message.SerializeToString())


def decode_hello(message: Bytes, limits: Limits = Limits()) -> Hello:  # noqa: B008  (frozen)
    """Read a Hello; of another major version only protocol and component. Raises WireError."""
    with reading("hello"):
        limits.check("max_header_bytes", len(message))
        frozen = handshake_pb2.FrozenHello.FromString(bytes(message))
        protocol = _read_version(frozen.protocol)
        component = read_sentence(frozen.component, limits)
        if protocol.major != PROTOCOL.major:
            return Hello(component=component, protocol=protocol)
        parsed = handshake_pb2.Hello.FromString(bytes(message))
        return Hello(
            component=component,
            protocol=protocol,
            versions=_read_versions(parsed.versions, limits),
            environment_fingerprint=read_sentence(parsed.environment_fingerprint, limits),
            policy_fingerprint=read_sentence(parsed.policy_fingerprint, limits),
            capabilities=_read_names(parsed.capabilities, limits),
            required_capabilities=_read_names(parsed.required_capabilities, limits),
        )


def encode_welcome(welcome: Welcome) -> bytes:
    """Write a Welcome; of a refusal only its frozen fields."""
    message = handshake_pb2.Welcome(protocol=_write_version(welcome.protocol), component=welcome.component)
    if welcome.refusal is not None:
        message.refusal.reason = _REASON_NUMBERS[welcome.refusal.reason]
        message.refusal.sentence = write_sentence(welcome.refusal.sentence)
        return bytes(message.SerializeToString())
    message.agreed_minor = welcome.agreed_minor
    message.capabilities.extend(sorted(welcome.capabilities))
    message.policy_fingerprint = welcome.policy_fingerprint
    message.versions.extend(_write_versions(welcome.versions))
    return bytes(message.SerializeToString())


def decode_welcome(message: Bytes, limits: Limits = Limits()) -> Welcome:  # noqa: B008  (frozen)
    """Read a Welcome; of a refusal only its frozen fields. Raises WireError."""
    with reading("welcome"):
        limits.check("max_header_bytes", len(message))
        frozen = handshake_pb2.FrozenWelcome.FromString(bytes(message))
        protocol = _read_version(frozen.protocol)
        component = read_sentence(frozen.component, limits)
        if frozen.HasField("refusal"):
            reason = _REASONS.get(frozen.refusal.reason, RefusalReason.UNKNOWN)
            refusal = Refusal(reason=reason, sentence=read_sentence(frozen.refusal.sentence, limits))
            return Welcome(component=component, protocol=protocol, refusal=refusal)
        if protocol.major != PROTOCOL.major:
            raise WireError(f"{component} welcomes with protocol {protocol}; this side speaks {PROTOCOL}")
        parsed = handshake_pb2.Welcome.FromString(bytes(message))
        return Welcome(
            component=component,
            protocol=protocol,
            agreed_minor=parsed.agreed_minor,
            capabilities=_read_names(parsed.capabilities, limits),
            policy_fingerprint=read_sentence(parsed.policy_fingerprint, limits),
            versions=_read_versions(parsed.versions, limits),
        )


def _write_version(version: ProtocolVersion) -> handshake_pb2.ProtocolVersion:
    return handshake_pb2.ProtocolVersion(major=version.major, minor=version.minor)


def _read_version(message: handshake_pb2.ProtocolVersion) -> ProtocolVersion:
    if message.major < 1:
        raise WireError("no protocol version; a peer says first which one it speaks")
    return ProtocolVersion(message.major, message.minor)


def _write_versions(versions: Mapping[str, str]) -> list[handshake_pb2.ComponentVersion]:
    return [handshake_pb2.ComponentVersion(name=name, version=version) for name, version in versions.items()]


def _read_versions(messages: Sequence[handshake_pb2.ComponentVersion], limits: Limits) -> dict[str, str]:
    limits.check("max_names", len(messages))
    return {
        read_sentence(message.name, limits): read_sentence(message.version, limits) for message in messages
    }


def _read_names(names: Sequence[str], limits: Limits) -> frozenset[str]:
    limits.check("max_names", len(names))
    return frozenset(read_sentence(name, limits) for name in names)
