# mypy: ignore-errors
from outrider.wire.v1 import action_head_pb2 as _action_head_pb2
from outrider.wire.v1 import space_pb2 as _space_pb2
from outrider.wire.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PolicyGraph(_message.Message):
    __slots__ = ("header", "array_sizes", "padding", "body")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ARRAY_SIZES_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    header: PolicyGraphHeader
    array_sizes: _containers.RepeatedScalarFieldContainer[int]
    padding: bytes
    body: bytes
    def __init__(self, header: _Optional[_Union[PolicyGraphHeader, _Mapping]] = ..., array_sizes: _Optional[_Iterable[int]] = ..., padding: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...

class PolicyGraphHeader(_message.Message):
    __slots__ = ("fingerprint", "model", "observation_space", "action_space", "action_heads", "state", "is_stacked")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_HEADS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IS_STACKED_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    model: _tensor_pb2.Tensor
    observation_space: _space_pb2.Space
    action_space: _space_pb2.Space
    action_heads: _containers.RepeatedCompositeFieldContainer[_action_head_pb2.ActionHead]
    state: _containers.RepeatedCompositeFieldContainer[StateSpec]
    is_stacked: bool
    def __init__(self, fingerprint: _Optional[str] = ..., model: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., observation_space: _Optional[_Union[_space_pb2.Space, _Mapping]] = ..., action_space: _Optional[_Union[_space_pb2.Space, _Mapping]] = ..., action_heads: _Optional[_Iterable[_Union[_action_head_pb2.ActionHead, _Mapping]]] = ..., state: _Optional[_Iterable[_Union[StateSpec, _Mapping]]] = ..., is_stacked: bool = ...) -> None: ...

class StateSpec(_message.Message):
    __slots__ = ("name", "spec")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    name: str
    spec: _tensor_pb2.TensorSpec
    def __init__(self, name: _Optional[str] = ..., spec: _Optional[_Union[_tensor_pb2.TensorSpec, _Mapping]] = ...) -> None: ...
