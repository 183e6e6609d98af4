# mypy: ignore-errors
from outrider.wire.v1 import space_pb2 as _space_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Agents(_message.Message):
    __slots__ = ("names", "groups", "state_space")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    STATE_SPACE_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    groups: _containers.RepeatedCompositeFieldContainer[AgentGroup]
    state_space: _space_pb2.Space
    def __init__(self, names: _Optional[_Iterable[str]] = ..., groups: _Optional[_Iterable[_Union[AgentGroup, _Mapping]]] = ..., state_space: _Optional[_Union[_space_pb2.Space, _Mapping]] = ...) -> None: ...

class AgentGroup(_message.Message):
    __slots__ = ("slots", "observation_space", "action_space")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPACE_FIELD_NUMBER: _ClassVar[int]
    slots: _containers.RepeatedScalarFieldContainer[int]
    observation_space: _space_pb2.Space
    action_space: _space_pb2.Space
    def __init__(self, slots: _Optional[_Iterable[int]] = ..., observation_space: _Optional[_Union[_space_pb2.Space, _Mapping]] = ..., action_space: _Optional[_Union[_space_pb2.Space, _Mapping]] = ...) -> None: ...
