# mypy: ignore-errors
from outrider.wire.v1 import agents_pb2 as _agents_pb2
from outrider.wire.v1 import chunk_pb2 as _chunk_pb2
from outrider.wire.v1 import handshake_pb2 as _handshake_pb2
from outrider.wire.v1 import session_pb2 as _session_pb2
from outrider.wire.v1 import space_pb2 as _space_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SampleRequest(_message.Message):
    __slots__ = ("join", "ready", "fragment", "state", "leaving", "policies_wanted", "goodbye", "heartbeat", "chunk", "attachment_bytes")
    JOIN_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    FRAGMENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    POLICIES_WANTED_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    join: Join
    ready: Ready
    fragment: FragmentDelivery
    state: StateDelivery
    leaving: Leaving
    policies_wanted: PoliciesWanted
    goodbye: _session_pb2.Goodbye
    heartbeat: _chunk_pb2.Heartbeat
    chunk: _chunk_pb2.Chunk
    attachment_bytes: int
    def __init__(self, join: _Optional[_Union[Join, _Mapping]] = ..., ready: _Optional[_Union[Ready, _Mapping]] = ..., fragment: _Optional[_Union[FragmentDelivery, _Mapping]] = ..., state: _Optional[_Union[StateDelivery, _Mapping]] = ..., leaving: _Optional[_Union[Leaving, _Mapping]] = ..., policies_wanted: _Optional[_Union[PoliciesWanted, _Mapping]] = ..., goodbye: _Optional[_Union[_session_pb2.Goodbye, _Mapping]] = ..., heartbeat: _Optional[_Union[_chunk_pb2.Heartbeat, _Mapping]] = ..., chunk: _Optional[_Union[_chunk_pb2.Chunk, _Mapping]] = ..., attachment_bytes: _Optional[int] = ...) -> None: ...

class SampleResponse(_message.Message):
    __slots__ = ("welcome", "assignment", "weights", "ask", "acknowledgement", "state", "policies", "goodbye", "heartbeat", "chunk", "attachment_bytes")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGEMENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    welcome: SessionWelcome
    assignment: Assignment
    weights: WeightsDelivery
    ask: Ask
    acknowledgement: Acknowledgement
    state: StateRequest
    policies: PoliciesDelivery
    goodbye: _session_pb2.Goodbye
    heartbeat: _chunk_pb2.Heartbeat
    chunk: _chunk_pb2.Chunk
    attachment_bytes: int
    def __init__(self, welcome: _Optional[_Union[SessionWelcome, _Mapping]] = ..., assignment: _Optional[_Union[Assignment, _Mapping]] = ..., weights: _Optional[_Union[WeightsDelivery, _Mapping]] = ..., ask: _Optional[_Union[Ask, _Mapping]] = ..., acknowledgement: _Optional[_Union[Acknowledgement, _Mapping]] = ..., state: _Optional[_Union[StateRequest, _Mapping]] = ..., policies: _Optional[_Union[PoliciesDelivery, _Mapping]] = ..., goodbye: _Optional[_Union[_session_pb2.Goodbye, _Mapping]] = ..., heartbeat: _Optional[_Union[_chunk_pb2.Heartbeat, _Mapping]] = ..., chunk: _Optional[_Union[_chunk_pb2.Chunk, _Mapping]] = ..., attachment_bytes: _Optional[int] = ...) -> None: ...

class Join(_message.Message):
    __slots__ = ("hello", "name", "observation_space", "action_space", "session", "last_ask", "next_weights_version", "num_environments", "agents", "maps_policies")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPACE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    LAST_ASK_FIELD_NUMBER: _ClassVar[int]
    NEXT_WEIGHTS_VERSION_FIELD_NUMBER: _ClassVar[int]
    NUM_ENVIRONMENTS_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    MAPS_POLICIES_FIELD_NUMBER: _ClassVar[int]
    hello: _handshake_pb2.Hello
    name: str
    observation_space: _space_pb2.Space
    action_space: _space_pb2.Space
    session: str
    last_ask: int
    next_weights_version: int
    num_environments: int
    agents: _agents_pb2.Agents
    maps_policies: bool
    def __init__(self, hello: _Optional[_Union[_handshake_pb2.Hello, _Mapping]] = ..., name: _Optional[str] = ..., observation_space: _Optional[_Union[_space_pb2.Space, _Mapping]] = ..., action_space: _Optional[_Union[_space_pb2.Space, _Mapping]] = ..., session: _Optional[str] = ..., last_ask: _Optional[int] = ..., next_weights_version: _Optional[int] = ..., num_environments: _Optional[int] = ..., agents: _Optional[_Union[_agents_pb2.Agents, _Mapping]] = ..., maps_policies: bool = ...) -> None: ...

class SessionWelcome(_message.Message):
    __slots__ = ("welcome", "session", "resumed", "acknowledged", "terms")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    welcome: _handshake_pb2.Welcome
    session: str
    resumed: bool
    acknowledged: int
    terms: _session_pb2.Terms
    def __init__(self, welcome: _Optional[_Union[_handshake_pb2.Welcome, _Mapping]] = ..., session: _Optional[str] = ..., resumed: bool = ..., acknowledged: _Optional[int] = ..., terms: _Optional[_Union[_session_pb2.Terms, _Mapping]] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("runner", "incarnation", "num_environments", "num_steps", "seed", "explore", "record_action_parameters", "settings", "team")
    RUNNER_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    NUM_ENVIRONMENTS_FIELD_NUMBER: _ClassVar[int]
    NUM_STEPS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    EXPLORE_FIELD_NUMBER: _ClassVar[int]
    RECORD_ACTION_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    TEAM_FIELD_NUMBER: _ClassVar[int]
    runner: int
    incarnation: int
    num_environments: int
    num_steps: int
    seed: int
    explore: bool
    record_action_parameters: bool
    settings: bytes
    team: Team
    def __init__(self, runner: _Optional[int] = ..., incarnation: _Optional[int] = ..., num_environments: _Optional[int] = ..., num_steps: _Optional[int] = ..., seed: _Optional[int] = ..., explore: bool = ..., record_action_parameters: bool = ..., settings: _Optional[bytes] = ..., team: _Optional[_Union[Team, _Mapping]] = ...) -> None: ...

class Team(_message.Message):
    __slots__ = ("agents", "num_copies", "has_central_critic")
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    NUM_COPIES_FIELD_NUMBER: _ClassVar[int]
    HAS_CENTRAL_CRITIC_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.RepeatedScalarFieldContainer[str]
    num_copies: int
    has_central_critic: bool
    def __init__(self, agents: _Optional[_Iterable[str]] = ..., num_copies: _Optional[int] = ..., has_central_critic: bool = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WeightsDelivery(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ("sequence", "weights_version")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_VERSION_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    weights_version: int
    def __init__(self, sequence: _Optional[int] = ..., weights_version: _Optional[int] = ...) -> None: ...

class FragmentDelivery(_message.Message):
    __slots__ = ("sequence", "weights_version")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_VERSION_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    weights_version: int
    def __init__(self, sequence: _Optional[int] = ..., weights_version: _Optional[int] = ...) -> None: ...

class Acknowledgement(_message.Message):
    __slots__ = ("sequence",)
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    def __init__(self, sequence: _Optional[int] = ...) -> None: ...

class StateRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: int
    def __init__(self, request: _Optional[int] = ...) -> None: ...

class StateDelivery(_message.Message):
    __slots__ = ("request", "error")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    request: int
    error: str
    def __init__(self, request: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...

class Leaving(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class PoliciesWanted(_message.Message):
    __slots__ = ("request", "policies", "dropped")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    request: int
    policies: _containers.RepeatedScalarFieldContainer[int]
    dropped: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, request: _Optional[int] = ..., policies: _Optional[_Iterable[int]] = ..., dropped: _Optional[_Iterable[int]] = ...) -> None: ...

class PoliciesDelivery(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: int
    def __init__(self, request: _Optional[int] = ...) -> None: ...
