# mypy: ignore-errors
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hello(_message.Message):
    __slots__ = ("protocol", "component", "versions", "environment_fingerprint", "policy_fingerprint", "capabilities", "required_capabilities")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    POLICY_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    protocol: ProtocolVersion
    component: str
    versions: _containers.RepeatedCompositeFieldContainer[ComponentVersion]
    environment_fingerprint: str
    policy_fingerprint: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    required_capabilities: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, protocol: _Optional[_Union[ProtocolVersion, _Mapping]] = ..., component: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[ComponentVersion, _Mapping]]] = ..., environment_fingerprint: _Optional[str] = ..., policy_fingerprint: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., required_capabilities: _Optional[_Iterable[str]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("refusal", "protocol", "component", "agreed_minor", "capabilities", "policy_fingerprint", "versions")
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    AGREED_MINOR_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    POLICY_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    refusal: Refusal
    protocol: ProtocolVersion
    component: str
    agreed_minor: int
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    policy_fingerprint: str
    versions: _containers.RepeatedCompositeFieldContainer[ComponentVersion]
    def __init__(self, refusal: _Optional[_Union[Refusal, _Mapping]] = ..., protocol: _Optional[_Union[ProtocolVersion, _Mapping]] = ..., component: _Optional[str] = ..., agreed_minor: _Optional[int] = ..., capabilities: _Optional[_Iterable[str]] = ..., policy_fingerprint: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[ComponentVersion, _Mapping]]] = ...) -> None: ...

class FrozenHello(_message.Message):
    __slots__ = ("protocol", "component")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    protocol: ProtocolVersion
    component: str
    def __init__(self, protocol: _Optional[_Union[ProtocolVersion, _Mapping]] = ..., component: _Optional[str] = ...) -> None: ...

class FrozenWelcome(_message.Message):
    __slots__ = ("refusal", "protocol", "component")
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    refusal: Refusal
    protocol: ProtocolVersion
    component: str
    def __init__(self, refusal: _Optional[_Union[Refusal, _Mapping]] = ..., protocol: _Optional[_Union[ProtocolVersion, _Mapping]] = ..., component: _Optional[str] = ...) -> None: ...

class ProtocolVersion(_message.Message):
    __slots__ = ("major", "minor")
    MAJOR_FIELD_NUMBER: _ClassVar[int]
    MINOR_FIELD_NUMBER: _ClassVar[int]
    major: int
    minor: int
    def __init__(self, major: _Optional[int] = ..., minor: _Optional[int] = ...) -> None: ...

class ComponentVersion(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "sentence")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Refusal.Reason]
        REASON_PROTOCOL: _ClassVar[Refusal.Reason]
        REASON_ENVIRONMENT: _ClassVar[Refusal.Reason]
        REASON_CAPABILITY: _ClassVar[Refusal.Reason]
    REASON_UNSPECIFIED: Refusal.Reason
    REASON_PROTOCOL: Refusal.Reason
    REASON_ENVIRONMENT: Refusal.Reason
    REASON_CAPABILITY: Refusal.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    reason: Refusal.Reason
    sentence: str
    def __init__(self, reason: _Optional[_Union[Refusal.Reason, str]] = ..., sentence: _Optional[str] = ...) -> None: ...
