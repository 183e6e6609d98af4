"""What the streams of all services have alike: chunks, heartbeats, goodbyes, and announced sizes.

    ask | fragment + 2,500,000 bytes | chunk | heartbeat | chunk | chunk | ...

This is all that code needs to know which moves messages and does not read them. A chunk is written with
one copy of its bytes and read with none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from outrider.wire.frame import Bytes
from outrider.wire.goodbye_codec import read_goodbye, write_goodbye
from outrider.wire.limits import Limits
from outrider.wire.session import Goodbye
from outrider.wire.v1 import session_pb2
from outrider.wire.wire_error import WireError, reading
from outrider.wire.wire_format import field_prefix, walk

MAX_CHUNK_BYTES = 2**20
"""Bytes of a large message that one chunk carries at most."""
_GOODBYE, _HEARTBEAT, _ATTACHMENT_BYTES, _CHUNK = 12, 13, 14, 15
_ONE_OF = range(1, _CHUNK + 1)
HEARTBEAT = field_prefix(_HEARTBEAT, 0)
"""The message that says nothing but that the sender is there."""


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """What a message says to those who move it. Nothing of it is set for one that only its reader knows."""

    attachment_bytes: int = 0
    """Size of the large message that follows in chunks; 0 where none does."""
    chunk: memoryview | None = None
    """The next bytes of the large message under way: a read-only view of what arrived."""
    is_heartbeat: bool = False
    goodbye: Goodbye | None = None


def read_stream_message(data: Bytes, limits: Limits = Limits()) -> StreamMessage:  # noqa: B008  (frozen)
    """Read what a message of any stream says to those who move it. Raises WireError.

    The caller must not write to `data` while the chunk is in use.
    """
    with reading("message of a stream"):
        view = memoryview(data).cast("B").toreadonly()
        if len(view) > MAX_CHUNK_BYTES + 64:  # the tags and lengths around a chunk
            limits.check("max_stream_message_bytes", len(view))
        attachment_bytes = num_messages = number_found = 0
        found: int | memoryview = 0
        for number, content in walk(view):
            if number == _ATTACHMENT_BYTES:
                attachment_bytes = _as_number(content)
            elif number in _ONE_OF:
                num_messages += 1
                if number >= _GOODBYE:
                    number_found, found = number, content
        if not number_found:
            limits.check("max_message_bytes", attachment_bytes)
            return StreamMessage(attachment_bytes)
        if num_messages > 1 or attachment_bytes or not isinstance(found, memoryview):
            raise WireError("a chunk, heartbeat or goodbye beside something else; each stands alone")
        if number_found == _CHUNK:
            return StreamMessage(chunk=_read_chunk(found))
        if number_found == _HEARTBEAT:
            return StreamMessage(is_heartbeat=True)
        limits.check("max_header_bytes", len(found))
        return StreamMessage(goodbye=read_goodbye(session_pb2.Goodbye.FromString(bytes(found)), limits))


def chunk_message(pieces: Sequence[Bytes]) -> bytes:
    """Write the next bytes of a large message, which lie in `pieces`; copies them once.

    Raises ValueError unless they are 1 byte to 1 MiB.
    """
    size = sum(map(len, pieces))
    if not 1 <= size <= MAX_CHUNK_BYTES:
        raise ValueError(f"a chunk of {size} bytes; it has 1 to {MAX_CHUNK_BYTES}")
    inner = field_prefix(1, size)
    return b"".join((field_prefix(_CHUNK, len(inner) + size) + inner, *pieces))


def goodbye_message(goodbye: Goodbye) -> bytes:
    """Write the last message of a stream, whichever it is."""
    message = session_pb2.Goodbye()
    write_goodbye(message, goodbye)
    content = message.SerializeToString()
    return field_prefix(_GOODBYE, len(content)) + bytes(content)


def _read_chunk(content: memoryview) -> memoryview:
    found = content[:0]
    for number, value in walk(content):
        if number == 1 and isinstance(value, memoryview):
            found = value
    if not 1 <= len(found) <= MAX_CHUNK_BYTES:
        raise WireError(f"a chunk of {len(found)} bytes; it has 1 to {MAX_CHUNK_BYTES}")
    return found


def _as_number(content: int | memoryview) -> int:
    if isinstance(content, memoryview):
        raise WireError("a size of an attachment that is no number")
    return content
