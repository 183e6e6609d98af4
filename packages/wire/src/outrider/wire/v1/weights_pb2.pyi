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
    __slots__ = ("version", "fingerprint", "tensors", "body_crc32", "stacks")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    BODY_CRC32_FIELD_NUMBER: _ClassVar[int]
    STACKS_FIELD_NUMBER: _ClassVar[int]
    version: int
    fingerprint: str
    tensors: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    body_crc32: int
    stacks: _containers.RepeatedCompositeFieldContainer[WeightsStack]
    def __init__(self, version: _Optional[int] = ..., fingerprint: _Optional[str] = ..., tensors: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., body_crc32: _Optional[int] = ..., stacks: _Optional[_Iterable[_Union[WeightsStack, _Mapping]]] = ...) -> None: ...

class WeightsStack(_message.Message):
    __slots__ = ("name", "fingerprint", "policies", "versions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    fingerprint: str
    policies: _tensor_pb2.Tensor
    versions: _tensor_pb2.Tensor
    def __init__(self, name: _Optional[str] = ..., fingerprint: _Optional[str] = ..., policies: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., versions: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
