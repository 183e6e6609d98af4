# mypy: ignore-errors
from outrider.wire.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Weights(_message.Message):
    __slots__ = ("header", "array_sizes", "padding", "body")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ARRAY_SIZES_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    header: WeightsHeader
    array_sizes: _containers.RepeatedScalarFieldContainer[int]
    padding: bytes
    body: bytes
    def __init__(self, header: _Optional[_Union[WeightsHeader, _Mapping]] = ..., array_sizes: _Optional[_Iterable[int]] = ..., padding: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...

class WeightsHeader(_message.Message):
    __slots__ = ("version", "fingerprint", "tensors", "body_crc32")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    BODY_CRC32_FIELD_NUMBER: _ClassVar[int]
    version: int
    fingerprint: str
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    body_crc32: int
    def __init__(self, version: _Optional[int] = ..., fingerprint: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., body_crc32: _Optional[int] = ...) -> None: ...
