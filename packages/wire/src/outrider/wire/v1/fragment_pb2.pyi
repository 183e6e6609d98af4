# mypy: ignore-errors
from outrider.wire.v1 import episode_statistics_pb2 as _episode_statistics_pb2
from outrider.wire.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Fragment(_message.Message):
    __slots__ = ("header", "array_sizes", "padding", "body")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ARRAY_SIZES_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    header: FragmentHeader
    array_sizes: _containers.RepeatedScalarFieldContainer[int]
    padding: bytes
    body: bytes
    def __init__(self, header: _Optional[_Union[FragmentHeader, _Mapping]] = ..., array_sizes: _Optional[_Iterable[int]] = ..., padding: _Optional[bytes] = ..., body: _Optional[bytes] = ...) -> None: ...

class FragmentHeader(_message.Message):
    __slots__ = ("streams", "observations", "actions", "rewards", "terminated", "truncated", "next_rows", "next_observations", "action_log_probs", "action_parameters", "policy_version", "episodes", "statistics", "critic_states", "critic_rows", "next_critic_rows", "others")
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    REWARDS_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    NEXT_ROWS_FIELD_NUMBER: _ClassVar[int]
    NEXT_OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    ACTION_LOG_PROBS_FIELD_NUMBER: _ClassVar[int]
    ACTION_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    CRITIC_STATES_FIELD_NUMBER: _ClassVar[int]
    CRITIC_ROWS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CRITIC_ROWS_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    streams: Streams
    observations: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    actions: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    rewards: _tensor_pb2.Tensor
    terminated: _tensor_pb2.Tensor
    truncated: _tensor_pb2.Tensor
    next_rows: _tensor_pb2.Tensor
    next_observations: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    action_log_probs: _tensor_pb2.Tensor
    action_parameters: _tensor_pb2.Tensor
    policy_version: _tensor_pb2.Tensor
    episodes: _episode_statistics_pb2.EpisodeStatistics
    statistics: SamplingStatistics
    critic_states: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    critic_rows: _tensor_pb2.Tensor
    next_critic_rows: _tensor_pb2.Tensor
    others: _containers.RepeatedCompositeFieldContainer[FragmentHeader]
    def __init__(self, streams: _Optional[_Union[Streams, _Mapping]] = ..., observations: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., actions: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., rewards: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., terminated: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., truncated: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., next_rows: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., next_observations: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., action_log_probs: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., action_parameters: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., policy_version: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., episodes: _Optional[_Union[_episode_statistics_pb2.EpisodeStatistics, _Mapping]] = ..., statistics: _Optional[_Union[SamplingStatistics, _Mapping]] = ..., critic_states: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ..., critic_rows: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., next_critic_rows: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., others: _Optional[_Iterable[_Union[FragmentHeader, _Mapping]]] = ...) -> None: ...

class Streams(_message.Message):
    __slots__ = ("lengths", "policy", "environment", "agent", "state")
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    lengths: _tensor_pb2.Tensor
    policy: _tensor_pb2.Tensor
    environment: _tensor_pb2.Tensor
    agent: _tensor_pb2.Tensor
    state: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.NamedTensor]
    def __init__(self, lengths: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., policy: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., environment: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., agent: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., state: _Optional[_Iterable[_Union[_tensor_pb2.NamedTensor, _Mapping]]] = ...) -> None: ...

class SamplingStatistics(_message.Message):
    __slots__ = ("environment_s", "policy_s", "total_s", "num_lost_rows", "num_restarts")
    ENVIRONMENT_S_FIELD_NUMBER: _ClassVar[int]
    POLICY_S_FIELD_NUMBER: _ClassVar[int]
    TOTAL_S_FIELD_NUMBER: _ClassVar[int]
    NUM_LOST_ROWS_FIELD_NUMBER: _ClassVar[int]
    NUM_RESTARTS_FIELD_NUMBER: _ClassVar[int]
    environment_s: float
    policy_s: float
    total_s: float
    num_lost_rows: int
    num_restarts: int
    def __init__(self, environment_s: _Optional[float] = ..., policy_s: _Optional[float] = ..., total_s: _Optional[float] = ..., num_lost_rows: _Optional[int] = ..., num_restarts: _Optional[int] = ...) -> None: ...
