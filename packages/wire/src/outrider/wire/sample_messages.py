"""What runners and a gateway say on `RunnerService.Sample`, to and from its messages."""

from __future__ import annotations

from outrider.wire import session
from outrider.wire.agents_codec import read_agents, read_team, write_agents, write_team
from outrider.wire.goodbye_codec import read_sentence, read_terms, write_sentence, write_terms
from outrider.wire.handshake import PROTOCOL
from outrider.wire.handshake_codec import decode_hello, decode_welcome, encode_hello, encode_welcome
from outrider.wire.limits import Limits
from outrider.wire.one_of_codec import number
from outrider.wire.space import TupleSpace
from outrider.wire.space_codec import read_space, write_space
from outrider.wire.tree_codec import decode_tree, encode_tree
from outrider.wire.v1 import runner_service_pb2
from outrider.wire.wire_error import WireError

_NO_SPACE = TupleSpace(spaces=())


def write_join(message: runner_service_pb2.Join, join: session.Join) -> None:
    """Fill a message."""
    message.hello.MergeFromString(encode_hello(join.hello))
    message.name = write_sentence(join.name)
    write_space(message.observation_space, join.observation_space)
    write_space(message.action_space, join.action_space)
    message.session = join.session
    message.last_ask = number(join.last_ask, "last_ask")
    if join.weights_version is not None:
        message.next_weights_version = number(join.weights_version, "weights_version") + 1
    message.num_environments = join.num_environments
    if join.agents is not None:
        write_agents(message.agents, join.agents)
    message.maps_policies = join.maps_policies


def read_join(message: runner_service_pb2.Join, limits: Limits) -> session.Join:
    """Return what a message says; of another major version only its hello."""
    # Read from bytes, so that there is one rule of what another major version may say.
    hello = decode_hello(message.hello.SerializeToString(), limits)
    if hello.protocol.major != PROTOCOL.major:
        return session.Join(hello=hello, name="", observation_space=_NO_SPACE, action_space=_NO_SPACE)
    limits.check("max_text_characters", len(message.session))
    limits.check("max_environments", message.num_environments)
    next_version = message.next_weights_version
    return session.Join(
        hello=hello,
        name=read_sentence(message.name, limits),
        observation_space=read_space(message.observation_space, limits),
        action_space=read_space(message.action_space, limits),
        session=message.session,
        last_ask=number(message.last_ask, "last_ask"),
        weights_version=number(next_version - 1, "weights_version") if next_version else None,
        num_environments=message.num_environments,
        agents=read_agents(message.agents, limits) if message.HasField("agents") else None,
        maps_policies=message.maps_policies,
    )


def write_welcome(message: runner_service_pb2.SessionWelcome, welcome: session.SessionWelcome) -> None:
    """Fill a message."""
    message.welcome.MergeFromString(encode_welcome(welcome.welcome))
    if welcome.welcome.refusal is not None:
        return
    if welcome.terms is None:
        raise ValueError("a welcome without terms; both sides keep to some")
    message.session = welcome.session
    message.resumed = welcome.resumed
    message.acknowledged = number(welcome.acknowledged, "acknowledged")
    write_terms(message.terms, welcome.terms)


def read_welcome(message: runner_service_pb2.SessionWelcome, limits: Limits) -> session.SessionWelcome:
    """Return what a message says; of a refusal nothing else."""
    welcome = decode_welcome(message.welcome.SerializeToString(), limits)
    if welcome.refusal is not None:
        return session.SessionWelcome(welcome=welcome)
    limits.check("max_text_characters", len(message.session))
    return session.SessionWelcome(
        welcome=welcome,
        session=message.session,
        resumed=message.resumed,
        acknowledged=number(message.acknowledged, "acknowledged"),
        terms=read_terms(message.terms),
    )


def write_assignment(message: runner_service_pb2.Assignment, assignment: session.Assignment) -> None:
    """Fill a message."""
    _check_assignment(assignment)
    for name in _ASSIGNMENT_FIELDS:
        setattr(message, name, getattr(assignment, name))
    if assignment.settings:
        message.settings = encode_tree(assignment.settings).to_bytes()
    if assignment.team is not None:
        write_team(message.team, assignment.team)


def read_assignment(message: runner_service_pb2.Assignment, limits: Limits) -> session.Assignment:
    """Return what a message says."""
    limits.check("max_environments", message.num_environments)
    limits.check("max_rows", message.num_environments * message.num_steps)
    settings = decode_tree(message.settings, limits) if message.settings else {}
    if not isinstance(settings, dict):
        raise WireError(f"settings are a {type(settings).__name__}; they are a map by name")
    assignment = session.Assignment(
        **{name: getattr(message, name) for name in _ASSIGNMENT_FIELDS},
        settings=settings,
        team=read_team(message.team, limits) if message.HasField("team") else None,
    )
    _check_assignment(assignment)
    return assignment


_ASSIGNMENT_FIELDS = (
    "runner",
    "incarnation",
    "num_environments",
    "num_steps",
    "seed",
    "explore",
    "record_action_parameters",
)


def _check_assignment(assignment: session.Assignment) -> None:
    for name in ("num_environments", "num_steps"):
        if getattr(assignment, name) < 1:
            raise ValueError(f"{name} is {getattr(assignment, name)}; it is at least 1")


def write_fragment(message: runner_service_pb2.FragmentDelivery, delivery: session.FragmentDelivery) -> None:
    """Fill a message."""
    message.sequence = number(delivery.sequence, "sequence", 1)
    if delivery.weights_version is not None:
        message.weights_version = number(delivery.weights_version, "weights_version")


def read_fragment(message: runner_service_pb2.FragmentDelivery, _: Limits) -> session.FragmentDelivery:
    """Return what a message says."""
    sequence = number(message.sequence, "sequence", 1)
    if not message.HasField("weights_version"):
        return session.FragmentDelivery(sequence)
    return session.FragmentDelivery(sequence, number(message.weights_version, "weights_version"))


def write_ask(message: runner_service_pb2.Ask, ask: session.Ask) -> None:
    """Fill a message."""
    message.sequence = number(ask.sequence, "sequence", 1)
    if ask.weights_version is not None:
        message.weights_version = number(ask.weights_version, "weights_version")


def read_ask(message: runner_service_pb2.Ask, _: Limits) -> session.Ask:
    """Return what a message says."""
    sequence = number(message.sequence, "sequence", 1)
    if not message.HasField("weights_version"):
        return session.Ask(sequence)
    return session.Ask(sequence, number(message.weights_version, "weights_version"))


def write_state(message: runner_service_pb2.StateDelivery, state: session.StateDelivery) -> None:
    """Fill a message."""
    message.request = number(state.request, "request", 1)
    message.error = write_sentence(state.error)


def read_state(message: runner_service_pb2.StateDelivery, limits: Limits) -> session.StateDelivery:
    """Return what a message says."""
    return session.StateDelivery(number(message.request, "request", 1), read_sentence(message.error, limits))


def write_leaving(message: runner_service_pb2.Leaving, leaving: session.Leaving) -> None:
    """Fill a message."""
    message.reason = write_sentence(leaving.reason)


def read_leaving(message: runner_service_pb2.Leaving, limits: Limits) -> session.Leaving:
    """Return what a message says."""
    return session.Leaving(read_sentence(message.reason, limits))
