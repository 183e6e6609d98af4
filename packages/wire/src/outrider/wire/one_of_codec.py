"""Messages that are one of several, as each message of a stream is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from outrider.wire.frame import Bytes
from outrider.wire.limits import Limits
from outrider.wire.wire_error import reading

Message = TypeVar("Message")
_MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the things that can be said: its dataclass, and its way to and from its message."""

    type: type
    write: Callable[[Any, Any], None]
    """Fills a message from a dataclass. Raises ValueError for what no reader accepts."""
    read: Callable[[Any, Limits], Any]
    """Makes a dataclass of a message. Raises ValueError."""


def _check_size(data: memoryview, limits: Limits) -> None:
    limits.check("max_header_bytes", len(data))


class OneOfCodec(Generic[Message]):
    """Writes and reads messages of one direction of a stream."""

    def __init__(
        self,
        noun: str,
        message_type: Any,  # noqa: ANN401  (a class that is generated)
        kinds: Mapping[str, Kind],
        *,
        check_size: Callable[[memoryview, Limits], None] = _check_size,
    ) -> None:
        self._noun = noun
        self._message_type = message_type
        self._kinds = kinds
        self._fields = {kind.type: field for field, kind in kinds.items()}
        self._check_size = check_size

    def encode(self, message: Message, attachment_bytes: int) -> bytes:
        field = self._fields.get(type(message))
        if field is None:
            raise ValueError(f"{message!r} is no {self._noun}")
        written = self._message_type(attachment_bytes=attachment_bytes)
        content = getattr(written, field)
        content.SetInParent()
        self._kinds[field].write(content, message)
        return bytes(written.SerializeToString())

    def decode(self, data: Bytes, limits: Limits) -> Message | None:
        with reading(self._noun):
            self._check_size(memoryview(data).cast("B"), limits)
            parsed = self._message_type.FromString(bytes(data))
            field = parsed.WhichOneof("message")
            if field not in self._kinds:
                return None
            found: Message = self._kinds[field].read(getattr(parsed, field), limits)
            return found


def plain(kind: type, **minima: int) -> Kind:
    """Return the kind whose fields are those of its message: numbers, from 0 or a given minimum on."""
    names = [field.name for field in fields(kind)]

    def write(message: Any, value: Any) -> None:  # noqa: ANN401  (of a type that varies)
        for name in names:
            setattr(message, name, number(getattr(value, name), name, minima.get(name, 0)))

    def read(message: Any, _: Limits) -> Any:  # noqa: ANN401
        return kind(*[number(getattr(message, name), name, minima.get(name, 0)) for name in names])

    return Kind(kind, write, read)


def number(value: int, name: str, minimum: int = 0) -> int:
    """Return a count or a sequence number once it is known to be in its range."""
    if not minimum <= value <= _MAX_NUMBER:
        raise ValueError(f"{name} is {value}; it is {minimum} to 2**63 - 1")
    return value
