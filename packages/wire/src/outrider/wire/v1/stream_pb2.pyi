# mypy: ignore-errors
from outrider.wire.v1 import chunk_pb2 as _chunk_pb2
from outrider.wire.v1 import session_pb2 as _session_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StreamMessage(_message.Message):
    __slots__ = ("goodbye", "heartbeat", "chunk", "attachment_bytes")
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    goodbye: _session_pb2.Goodbye
    heartbeat: _chunk_pb2.Heartbeat
    chunk: _chunk_pb2.Chunk
    attachment_bytes: int
    def __init__(self, goodbye: _Optional[_Union[_session_pb2.Goodbye, _Mapping]] = ..., heartbeat: _Optional[_Union[_chunk_pb2.Heartbeat, _Mapping]] = ..., chunk: _Optional[_Union[_chunk_pb2.Chunk, _Mapping]] = ..., attachment_bytes: _Optional[int] = ...) -> None: ...
