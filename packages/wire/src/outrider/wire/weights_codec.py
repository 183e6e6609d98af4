"""Weights to and from frames.

The checksum is zlib's CRC-32: every language has it, it costs a quarter of a nanosecond per byte, and
it finds what goes wrong by accident (a chunk lost, swapped or left over from the version before). It
is no defence against forgery.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection

import numpy as np

from outrider.wire.bfloat16 import narrow
from outrider.wire.frame import ALIGNMENT, Bytes, Frame, read_frame
from outrider.wire.limits import Limits
from outrider.wire.tensor import BodyReader, BodyWriter
from outrider.wire.v1 import weights_pb2
from outrider.wire.weights import Weights, WeightsStack
from outrider.wire.weights_stacks import check_stacks
from outrider.wire.wire_error import WireError, reading

_MAX_VERSION = 2**63 - 1


def encode_weights(weights: Weights, *, bfloat16: Collection[str] = (), checksum: bool = True) -> Frame:
    """Describe weights; the frame's buffers are the arrays themselves where those are contiguous.

    The float32 tensors named in `bfloat16` are rounded to it, which halves their bytes; pass
    `weights.tensors` for all. Leave out what needs the precision, such as a normaliser's statistics.
    Raises ValueError for a name that is not there or no float32, and for stacks that break a rule.
    Without `checksum` a reader does not notice damage; leave it out only where the arrays do not
    travel, as in shared memory, or what carries them notices it.
    """
    if not 0 <= weights.version <= _MAX_VERSION:
        raise ValueError(f"version {weights.version} of weights; it counts from 0 to 2**63 - 1")
    header = weights_pb2.WeightsHeader(version=weights.version, fingerprint=weights.fingerprint)
    for name in bfloat16:
        dtype = weights.tensors[name].dtype if name in weights.tensors else "missing"
        if dtype != np.float32:
            raise ValueError(f"{name!r} is {dtype}; only float32 tensors can be sent as bfloat16")
    if weights.stacks:
        check_stacks(weights)
    body = BodyWriter()
    for name, tensor in weights.tensors.items():
        named = header.tensors.add()
        named.name = name
        if name in bfloat16:
            body.add(named.tensor, narrow(tensor), bfloat16=True)
        else:
            body.add(named.tensor, tensor)
    for stack in weights.stacks:
        written = header.stacks.add(name=stack.name, fingerprint=stack.fingerprint)
        body.add(written.policies, stack.policies)
        body.add(written.versions, stack.versions)
    if checksum:
        header.body_crc32 = _checksum(body.buffers)
    return body.frame(header)


def decode_weights(message: Bytes, limits: Limits = Limits()) -> Weights:  # noqa: B008  (frozen)
    """Read weights whose arrays are read-only views of `message`. Raises WireError.

    The caller must not write to `message` while the weights are in use. What was sent as bfloat16
    comes out as float32, in memory of its own.
    """
    return decode_weights_frame(read_frame(message, limits), limits)


def decode_weights_frame(frame: Frame, limits: Limits = Limits()) -> Weights:  # noqa: B008  (frozen)
    """Read weights whose arrays travelled beside their header. Otherwise as `decode_weights`."""
    with reading("set of weights"):
        body = BodyReader(frame, limits, bfloat16=True)
        header = weights_pb2.WeightsHeader.FromString(frame.header)
        if header.HasField("body_crc32"):
            _check_checksum(_checksum(frame.buffers), header.body_crc32)
        if header.version > _MAX_VERSION:
            raise WireError(f"version {header.version}; it counts from 0 to 2**63 - 1")
        limits.check("max_stacks", len(header.stacks))
        weights = Weights(
            version=header.version,
            fingerprint=header.fingerprint,
            tensors=body.read_named(header.tensors, "weights/"),
            stacks=tuple([_read_stack(stack, body) for stack in header.stacks]),
        )
        if weights.stacks:
            check_stacks(weights)
        return weights


def _read_stack(message: weights_pb2.WeightsStack, body: BodyReader) -> WeightsStack:
    return WeightsStack(
        name=message.name,
        fingerprint=message.fingerprint,
        policies=body.read(message.policies, f"policies of stack {message.name!r}"),
        versions=body.read(message.versions, f"versions of stack {message.name!r}"),
    )


def _check_checksum(found: int, sent: int) -> None:
    if found != sent:
        raise WireError(f"checksum {found:08x} where {sent:08x} was sent; fetch them again")


def _checksum(buffers: list[memoryview]) -> int:
    crc = end = 0
    for buffer in buffers:
        gap = -end % ALIGNMENT
        crc = zlib.crc32(buffer, zlib.crc32(bytes(gap), crc))
        end += gap + len(buffer)
    return crc
