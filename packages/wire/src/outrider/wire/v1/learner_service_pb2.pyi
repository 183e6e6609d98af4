# mypy: ignore-errors
from outrider.wire.v1 import chunk_pb2 as _chunk_pb2
from outrider.wire.v1 import handshake_pb2 as _handshake_pb2
from outrider.wire.v1 import session_pb2 as _session_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LearnRequest(_message.Message):
    __slots__ = ("hello", "start", "fragment", "update", "state", "policies", "goodbye", "heartbeat", "chunk", "attachment_bytes")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    FRAGMENT_FIELD_NUMBER: _ClassVar[int]
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    hello: _handshake_pb2.Hello
    start: LearnStart
    fragment: LearnFragment
    update: LearnUpdate
    state: LearnStateRequest
    policies: LearnPolicies
    goodbye: _session_pb2.Goodbye
    heartbeat: _chunk_pb2.Heartbeat
    chunk: _chunk_pb2.Chunk
    attachment_bytes: int
    def __init__(self, hello: _Optional[_Union[_handshake_pb2.Hello, _Mapping]] = ..., start: _Optional[_Union[LearnStart, _Mapping]] = ..., fragment: _Optional[_Union[LearnFragment, _Mapping]] = ..., update: _Optional[_Union[LearnUpdate, _Mapping]] = ..., state: _Optional[_Union[LearnStateRequest, _Mapping]] = ..., policies: _Optional[_Union[LearnPolicies, _Mapping]] = ..., goodbye: _Optional[_Union[_session_pb2.Goodbye, _Mapping]] = ..., heartbeat: _Optional[_Union[_chunk_pb2.Heartbeat, _Mapping]] = ..., chunk: _Optional[_Union[_chunk_pb2.Chunk, _Mapping]] = ..., attachment_bytes: _Optional[int] = ...) -> None: ...

class LearnResponse(_message.Message):
    __slots__ = ("welcome", "ready", "weights", "report", "state", "room", "policies", "goodbye", "heartbeat", "chunk", "attachment_bytes")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    welcome: LearnWelcome
    ready: LearnReady
    weights: LearnWeights
    report: LearnReport
    state: LearnState
    room: LearnRoom
    policies: LearnPoliciesAnswer
    goodbye: _session_pb2.Goodbye
    heartbeat: _chunk_pb2.Heartbeat
    chunk: _chunk_pb2.Chunk
    attachment_bytes: int
    def __init__(self, welcome: _Optional[_Union[LearnWelcome, _Mapping]] = ..., ready: _Optional[_Union[LearnReady, _Mapping]] = ..., weights: _Optional[_Union[LearnWeights, _Mapping]] = ..., report: _Optional[_Union[LearnReport, _Mapping]] = ..., state: _Optional[_Union[LearnState, _Mapping]] = ..., room: _Optional[_Union[LearnRoom, _Mapping]] = ..., policies: _Optional[_Union[LearnPoliciesAnswer, _Mapping]] = ..., goodbye: _Optional[_Union[_session_pb2.Goodbye, _Mapping]] = ..., heartbeat: _Optional[_Union[_chunk_pb2.Heartbeat, _Mapping]] = ..., chunk: _Optional[_Union[_chunk_pb2.Chunk, _Mapping]] = ..., attachment_bytes: _Optional[int] = ...) -> None: ...

class LearnStart(_message.Message):
    __slots__ = ("asynchronous",)
    ASYNCHRONOUS_FIELD_NUMBER: _ClassVar[int]
    asynchronous: bool
    def __init__(self, asynchronous: bool = ...) -> None: ...

class LearnWelcome(_message.Message):
    __slots__ = ("welcome", "terms")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    welcome: _handshake_pb2.Welcome
    terms: _session_pb2.Terms
    def __init__(self, welcome: _Optional[_Union[_handshake_pb2.Welcome, _Mapping]] = ..., terms: _Optional[_Union[_session_pb2.Terms, _Mapping]] = ...) -> None: ...

class LearnReady(_message.Message):
    __slots__ = ("num_learners", "room")
    NUM_LEARNERS_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    num_learners: int
    room: int
    def __init__(self, num_learners: _Optional[int] = ..., room: _Optional[int] = ...) -> None: ...

class LearnFragment(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class LearnUpdate(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class LearnWeights(_message.Message):
    __slots__ = ("version", "since")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    version: int
    since: int
    def __init__(self, version: _Optional[int] = ..., since: _Optional[int] = ...) -> None: ...

class LearnReport(_message.Message):
    __slots__ = ("sequence", "version")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    version: int
    def __init__(self, sequence: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class LearnStateRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: int
    def __init__(self, request: _Optional[int] = ...) -> None: ...

class LearnState(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: int
    def __init__(self, request: _Optional[int] = ...) -> None: ...

class LearnPolicies(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: int
    def __init__(self, request: _Optional[int] = ...) -> None: ...

class LearnPoliciesAnswer(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: int
    def __init__(self, request: _Optional[int] = ...) -> None: ...

class LearnRoom(_message.Message):
    __slots__ = ("last_sequence",)
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    last_sequence: int
    def __init__(self, last_sequence: _Optional[int] = ...) -> None: ...
