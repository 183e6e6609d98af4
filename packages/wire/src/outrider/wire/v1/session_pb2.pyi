# mypy: ignore-errors
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Terms(_message.Message):
    __slots__ = ("heartbeat_interval_ms", "silence_timeout_ms", "session_timeout_ms")
    HEARTBEAT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    SILENCE_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    SESSION_TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    heartbeat_interval_ms: int
    silence_timeout_ms: int
    session_timeout_ms: int
    def __init__(self, heartbeat_interval_ms: _Optional[int] = ..., silence_timeout_ms: _Optional[int] = ..., session_timeout_ms: _Optional[int] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("reason", "sentence")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Goodbye.Reason]
        REASON_DONE: _ClassVar[Goodbye.Reason]
        REASON_LATER: _ClassVar[Goodbye.Reason]
        REASON_MISBEHAVED: _ClassVar[Goodbye.Reason]
        REASON_REFUSED: _ClassVar[Goodbye.Reason]
        REASON_FAILED: _ClassVar[Goodbye.Reason]
    REASON_UNSPECIFIED: Goodbye.Reason
    REASON_DONE: Goodbye.Reason
    REASON_LATER: Goodbye.Reason
    REASON_MISBEHAVED: Goodbye.Reason
    REASON_REFUSED: Goodbye.Reason
    REASON_FAILED: Goodbye.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    reason: Goodbye.Reason
    sentence: str
    def __init__(self, reason: _Optional[_Union[Goodbye.Reason, str]] = ..., sentence: _Optional[str] = ...) -> None: ...
