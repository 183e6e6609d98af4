# mypy: ignore-errors
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EpisodeStatistics(_message.Message):
    __slots__ = ("returns", "lengths", "agents")
    RETURNS_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    returns: _containers.RepeatedScalarFieldContainer[float]
    lengths: _containers.RepeatedScalarFieldContainer[int]
    agents: AgentEpisodes
    def __init__(self, returns: _Optional[_Iterable[float]] = ..., lengths: _Optional[_Iterable[int]] = ..., agents: _Optional[_Union[AgentEpisodes, _Mapping]] = ...) -> None: ...

class AgentEpisodes(_message.Message):
    __slots__ = ("policy", "agent", "returns", "lengths", "environment", "episode")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    RETURNS_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    policy: _containers.RepeatedScalarFieldContainer[int]
    agent: _containers.RepeatedScalarFieldContainer[int]
    returns: _containers.RepeatedScalarFieldContainer[float]
    lengths: _containers.RepeatedScalarFieldContainer[int]
    environment: _containers.RepeatedScalarFieldContainer[int]
    episode: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, policy: _Optional[_Iterable[int]] = ..., agent: _Optional[_Iterable[int]] = ..., returns: _Optional[_Iterable[float]] = ..., lengths: _Optional[_Iterable[int]] = ..., environment: _Optional[_Iterable[int]] = ..., episode: _Optional[_Iterable[int]] = ...) -> None: ...
