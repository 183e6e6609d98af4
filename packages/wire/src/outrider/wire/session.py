"""What is said on the streams between a run and its peers: runners, environments, learners.

One dataclass for each message of `session.proto`, `runner_service.proto`, `act_service.proto` and
`learner_service.proto`, which say what they mean and in which order they come. What is attached to a
message is not in it. Nothing here moves bytes over a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from outrider.wire.agents import Agents
from outrider.wire.handshake import Hello, Welcome
from outrider.wire.space import Space

# ------------------------------------------------------------------------------------------- all streams


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What both sides keep to; decided by the side that was dialled."""

    heartbeat_interval_s: float
    """A side that sent nothing else for so long sends a heartbeat. Whole milliseconds, at least 0.001."""
    silence_timeout_s: float
    """A side that hears nothing for so long takes the connection for dead."""
    session_timeout_s: float = 0.0
    """How long a session waits for its peer to dial again; 0 where it ends with its connection."""


class GoodbyeReason(Enum):
    """Why a stream ends, for programs."""

    DONE = "done"
    """Nothing is wrong. There is nothing to dial for any more."""
    LATER = "later"
    """Dialling again later may work."""
    MISBEHAVED = "misbehaved"
    """The peer broke a rule."""
    REFUSED = "refused"
    """The two do not fit until one of them is changed."""
    FAILED = "failed"
    """The sender failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goodbye:
    """The last message of a side."""

    reason: GoodbyeReason
    sentence: str = ""
    """For people: what happened and what to do about it."""


# ----------------------------------------------------------------------------------------------- runners


@dataclass(frozen=True, kw_only=True, slots=True)
class Join:
    """How a runner, or an environment that the gateway acts for, introduces itself."""

    hello: Hello
    name: str
    """For operators."""
    observation_space: Space
    action_space: Space
    session: str = field(default="", repr=False)
    """Of the connection that broke; empty on the first. Secret."""
    last_ask: int = 0
    """The highest `Ask.sequence` that it has heard."""
    weights_version: int | None = None
    """Of the weights that it holds."""
    num_environments: int = 0
    """`ActService` only: copies that are stepped together."""
    agents: Agents | None = None
    """None where the environment has one agent; otherwise the two spaces are empty Dicts."""
    maps_policies: bool = False
    """Whether the runner has a function of its own that says which policy plays for which agent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionWelcome:
    """The answer to `Join`."""

    welcome: Welcome
    session: str = field(default="", repr=False)
    """Secret: whoever knows it can take the session over."""
    resumed: bool = False
    """Whether it is the session that `Join` named."""
    acknowledged: int = 0
    """`Acknowledgement.sequence` so far."""
    terms: Terms | None = None
    """None where `welcome` refuses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Team:
    """What is the same for all runners of a run with several agents."""

    agents: tuple[str, ...]
    """By slot."""
    num_copies: int = 0
    """Independent copies of an environment of one agent that the agents are; 0: it has its agents itself."""
    has_central_critic: bool = False
    """Whether fragments hold the global state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """What a runner is to sample. Attached: a `PolicyGraph`, or with a team a `Tree` of how it acts."""

    runner: int
    incarnation: int
    num_environments: int
    num_steps: int
    seed: int
    explore: bool = True
    record_action_parameters: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further ones of Outrider's own runners, as plain values by the names of `EnvRunnerSettings`."""
    team: Team | None = None
    """None where one policy plays for one agent."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The environments are made."""


@dataclass(frozen=True, slots=True)
class WeightsDelivery:
    """Attached: `Weights`."""

    version: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A credit for one fragment."""

    sequence: int
    """Counts from 1 without a gap."""
    weights_version: int | None = None
    """Which must act, or newer ones that it was sent; None: the newest that it holds when it begins."""


@dataclass(frozen=True, slots=True)
class FragmentDelivery:
    """Attached: a `Fragment`."""

    sequence: int
    """Of the `Ask` that it answers."""
    weights_version: int | None = None
    """Of those that the runner held when it began; None: that of its newest row."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The gateway owns all fragments up to this one."""

    sequence: int


@dataclass(frozen=True, slots=True)
class StateRequest:
    """Asks for a state, or gives one where a `Tree` is attached."""

    request: int


@dataclass(frozen=True, slots=True)
class StateDelivery:
    """Answers a `StateRequest`; a `Tree` is attached where it asked for a state."""

    request: int
    error: str = ""
    """Why it could not be done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoliciesWanted:
    """Asks for weights of policies that a runner plays now or soon and does not hold."""

    request: int
    """Counts from 1."""
    policies: tuple[int, ...]
    """Their numbers."""
    dropped: tuple[int, ...] = ()
    """Those whose weights it has thrown away since its last request."""


@dataclass(frozen=True, slots=True)
class PoliciesDelivery:
    """Answers `PoliciesWanted`. Attached: `Weights` of these policies."""

    request: int


@dataclass(frozen=True, slots=True)
class Leaving:
    """A runner will answer what it was asked for, and no more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The sender is there."""


SampleRequest: TypeAlias = (
    Join | Ready | FragmentDelivery | StateDelivery | PoliciesWanted | Leaving | Goodbye | Heartbeat
)
"""From a runner to the gateway."""
SampleResponse: TypeAlias = (
    SessionWelcome
    | Assignment
    | WeightsDelivery
    | Ask
    | Acknowledgement
    | StateRequest
    | PoliciesDelivery
    | Goodbye
    | Heartbeat
)
"""From the gateway to a runner."""


# ------------------------------------------------------------------------------------------------- acting


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What happened to E environment copies; the first of a stream has observations only."""

    sequence: int
    """Counts from 1."""
    observations: Mapping[str, NDArray[Any]]
    """[E, ...] by leaf: what the policy acts on next."""
    rewards: NDArray[np.float32]
    """[E], or [0] in the first step, as the next two."""
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    ended: NDArray[np.int64]
    """Copies whose episode ended, ascending."""
    final_observations: Mapping[str, NDArray[Any]]
    """[number of `ended`, ...] by leaf: what really followed there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Action:
    """What to do."""

    sequence: int
    """Of the step that it answers."""
    actions: Mapping[str, NDArray[Any]]
    """[E, ...] by leaf, in the environment's own terms."""


ActRequest: TypeAlias = Join | Step | Goodbye | Heartbeat
"""From environments to the gateway."""
ActResponse: TypeAlias = SessionWelcome | Action | Goodbye | Heartbeat
"""From the gateway to environments."""


# ----------------------------------------------------------------------------------------------- learners


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnWelcome:
    """The answer to `Hello`."""

    welcome: Welcome
    terms: Terms | None = None
    """None where `welcome` refuses."""


@dataclass(frozen=True, slots=True)
class LearnStart:
    """Attached: a `Tree` {"plan": ..., "state": ... or None}."""

    asynchronous: bool


@dataclass(frozen=True, slots=True)
class LearnReady:
    """The learners are made."""

    num_learners: int
    room: int
    """The highest `LearnFragment.sequence` that may be sent; 0 where the algorithm is synchronous."""


@dataclass(frozen=True, slots=True)
class LearnFragment:
    """Attached: a `Fragment`."""

    sequence: int
    """Counts from 1."""


@dataclass(frozen=True, slots=True)
class LearnUpdate:
    """Asks for an update on all fragments up to this one that no update had."""

    sequence: int


@dataclass(frozen=True, slots=True)
class LearnWeights:
    """Attached: `Weights`."""

    version: int
    since: int = 0
    """The version that went before, where only policies are attached that changed since then; 0: all are."""


@dataclass(frozen=True, slots=True)
class LearnReport:
    """Attached: a `Tree` of metrics."""

    sequence: int
    """The last fragment that was trained on or thrown away."""
    version: int
    """Of the weights after it."""


@dataclass(frozen=True, slots=True)
class LearnStateRequest:
    """Asks for the learners' state."""

    request: int
    """0 asks for nothing: a state that nobody had asked for has come."""


@dataclass(frozen=True, slots=True)
class LearnState:
    """Attached: a `Tree`."""

    request: int
    """0 where nobody asked: learners that go away hand over what they have."""


@dataclass(frozen=True, slots=True)
class LearnPolicies:
    """Asks about policies, or changes which there are. Attached: a `Tree` {"call": ...}."""

    request: int
    """Counts from 1."""


@dataclass(frozen=True, slots=True)
class LearnPoliciesAnswer:
    """Attached: a `Tree`."""

    request: int
    """Of the `LearnPolicies` that it answers."""


@dataclass(frozen=True, slots=True)
class LearnRoom:
    """Back-pressure of asynchronous learners."""

    last_sequence: int


LearnRequest: TypeAlias = (
    Hello | LearnStart | LearnFragment | LearnUpdate | LearnStateRequest | LearnPolicies | Goodbye | Heartbeat
)
"""From an algorithm process to learners."""
LearnResponse: TypeAlias = (
    LearnWelcome
    | LearnReady
    | LearnWeights
    | LearnReport
    | LearnState
    | LearnPoliciesAnswer
    | LearnRoom
    | Goodbye
    | Heartbeat
)
"""From learners to an algorithm process."""
