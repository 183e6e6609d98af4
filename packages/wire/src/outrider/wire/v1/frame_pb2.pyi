# mypy: ignore-errors
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Frame(_message.Message):
    __slots__ = ("header", "array_sizes", "padding", "body")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ARRAY_SIZES_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    header: bytes
    array_sizes: _containers.RepeatedScalarFieldContainer[int]
    padding: bytes
    body: bytes
    def __init__(self, header: _Optional[bytes] = ..., array_sizes: _Optional[_Iterable[int]] = ..., padding: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...
