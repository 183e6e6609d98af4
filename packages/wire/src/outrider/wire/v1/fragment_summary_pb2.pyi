# mypy: ignore-errors
from outrider.wire.v1 import episode_statistics_pb2 as _episode_statistics_pb2
from outrider.wire.v1 import fragment_pb2 as _fragment_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FragmentSummary(_message.Message):
    __slots__ = ("num_rows", "num_streams", "policy_version", "episodes", "statistics")
    NUM_ROWS_FIELD_NUMBER: _ClassVar[int]
    NUM_STREAMS_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    num_rows: int
    num_streams: int
    policy_version: int
    episodes: _episode_statistics_pb2.EpisodeStatistics
    statistics: _fragment_pb2.SamplingStatistics
    def __init__(self, num_rows: _Optional[int] = ..., num_streams: _Optional[int] = ..., policy_version: _Optional[int] = ..., episodes: _Optional[_Union[_episode_statistics_pb2.EpisodeStatistics, _Mapping]] = ..., statistics: _Optional[_Union[_fragment_pb2.SamplingStatistics, _Mapping]] = ...) -> None: ...
