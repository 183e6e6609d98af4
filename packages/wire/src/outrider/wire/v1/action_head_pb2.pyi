# mypy: ignore-errors
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ActionHead(_message.Message):
    __slots__ = ("path", "kind", "sizes", "shape", "start", "stop")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[ActionHead.Kind]
        KIND_CATEGORICAL: _ClassVar[ActionHead.Kind]
        KIND_BERNOULLI: _ClassVar[ActionHead.Kind]
        KIND_GAUSSIAN: _ClassVar[ActionHead.Kind]
        KIND_SQUASHED_GAUSSIAN: _ClassVar[ActionHead.Kind]
    KIND_UNSPECIFIED: ActionHead.Kind
    KIND_CATEGORICAL: ActionHead.Kind
    KIND_BERNOULLI: ActionHead.Kind
    KIND_GAUSSIAN: ActionHead.Kind
    KIND_SQUASHED_GAUSSIAN: ActionHead.Kind
    PATH_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    path: str
    kind: ActionHead.Kind
    sizes: _containers.RepeatedScalarFieldContainer[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    start: int
    stop: int
    def __init__(self, path: _Optional[str] = ..., kind: _Optional[_Union[ActionHead.Kind, str]] = ..., sizes: _Optional[_Iterable[int]] = ..., shape: _Optional[_Iterable[int]] = ..., start: _Optional[int] = ..., stop: _Optional[int] = ...) -> None: ...
