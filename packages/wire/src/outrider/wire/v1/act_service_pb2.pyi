# mypy: ignore-errors
from outrider.wire.v1 import chunk_pb2 as _chunk_pb2
from outrider.wire.v1 import runner_service_pb2 as _runner_service_pb2
from outrider.wire.v1 import session_pb2 as _session_pb2
from outrider.wire.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ActRequest(_message.Message):
    __slots__ = ("join", "step", "goodbye", "heartbeat", "chunk", "attachment_bytes")
    JOIN_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    join: _runner_service_pb2.Join
    step: Step
    goodbye: _session_pb2.Goodbye
    heartbeat: _chunk_pb2.Heartbeat
    chunk: _chunk_pb2.Chunk
    attachment_bytes: int
    def __init__(self, join: _Optional[_Union[_runner_service_pb2.Join, _Mapping]] = ..., step: _Optional[_Union[Step, _Mapping]] = ..., goodbye: _Optional[_Union[_session_pb2.Goodbye, _Mapping]] = ..., heartbeat: _Optional[_Union[_chunk_pb2.Heartbeat, _Mapping]] = ..., chunk: _Optional[_Union[_chunk_pb2.Chunk, _Mapping]] = ..., attachment_bytes: _Optional[int] = ...) -> None: ...

class ActResponse(_message.Message):
    __slots__ = ("welcome", "action", "goodbye", "heartbeat", "chunk", "attachment_bytes")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    welcome: _runner_service_pb2.SessionWelcome
    action: Action
    goodbye: _session_pb2.Goodbye
    heartbeat: _chunk_pb2.Heartbeat
    chunk: _chunk_pb2.Chunk
    attachment_bytes: int
    def __init__(self, welcome: _Optional[_Union[_runner_service_pb2.SessionWelcome, _Mapping]] = ..., action: _Optional[_Union[Action, _Mapping]] = ..., goodbye: _Optional[_Union[_session_pb2.Goodbye, _Mapping]] = ..., heartbeat: _Optional[_Union[_chunk_pb2.Heartbeat, _Mapping]] = ..., chunk: _Optional[_Union[_chunk_pb2.Chunk, _Mapping]] = ..., attachment_bytes: _Optional[int] = ...) -> None: ...

class InlineArray(_message.Message):
    __slots__ = ("name", "dtype", "shape", "data")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: _tensor_pb2.Dtype
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[_Union[_tensor_pb2.Dtype, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("sequence", "observations", "rewards", "terminated", "truncated", "ended", "final_observations")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    REWARDS_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    FINAL_OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    observations: _containers.RepeatedCompositeFieldContainer[InlineArray]
    rewards: _containers.RepeatedScalarFieldContainer[float]
    terminated: _containers.RepeatedScalarFieldContainer[bool]
    truncated: _containers.RepeatedScalarFieldContainer[bool]
    ended: _containers.RepeatedScalarFieldContainer[int]
    final_observations: _containers.RepeatedCompositeFieldContainer[InlineArray]
    def __init__(self, sequence: _Optional[int] = ..., observations: _Optional[_Iterable[_Union[InlineArray, _Mapping]]] = ..., rewards: _Optional[_Iterable[float]] = ..., terminated: _Optional[_Iterable[bool]] = ..., truncated: _Optional[_Iterable[bool]] = ..., ended: _Optional[_Iterable[int]] = ..., final_observations: _Optional[_Iterable[_Union[InlineArray, _Mapping]]] = ...) -> None: ...

class Action(_message.Message):
    __slots__ = ("sequence", "actions")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    actions: _containers.RepeatedCompositeFieldContainer[InlineArray]
    def __init__(self, sequence: _Optional[int] = ..., actions: _Optional[_Iterable[_Union[InlineArray, _Mapping]]] = ...) -> None: ...
