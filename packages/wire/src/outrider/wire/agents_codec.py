"""Agents and what several of them are asked for, to and from their messages."""

from __future__ import annotations

from collections.abc import Collection

from outrider.wire.agents import AgentGroup, Agents, check_names
from outrider.wire.limits import Limits
from outrider.wire.one_of_codec import number
from outrider.wire.session import PoliciesWanted, Team
from outrider.wire.space import BoxSpace
from outrider.wire.space_codec import read_space, write_space
from outrider.wire.v1 import agents_pb2, runner_service_pb2
from outrider.wire.wire_error import WireError


def write_agents(message: agents_pb2.Agents, agents: Agents) -> None:
    """Fill a message."""
    message.names.extend(agents.names)
    for group in agents.groups:
        written = message.groups.add(slots=group.slots)
        write_space(written.observation_space, group.observation_space)
        write_space(written.action_space, group.action_space)
    if agents.state_space is not None:
        write_space(message.state_space, agents.state_space)


def read_agents(message: agents_pb2.Agents, limits: Limits) -> Agents:
    """Return what a message says, once it is known to keep every rule."""
    limits.check("max_agents", sum(len(group.slots) for group in message.groups))
    return Agents(
        names=_read_names(message.names, limits),
        groups=tuple(
            AgentGroup(
                slots=tuple(group.slots),
                observation_space=read_space(group.observation_space, limits),
                action_space=read_space(group.action_space, limits),
            )
            for group in message.groups
        ),
        state_space=_read_state_space(message, limits),
    )


def _read_state_space(message: agents_pb2.Agents, limits: Limits) -> BoxSpace | None:
    if not message.HasField("state_space"):
        return None
    space = read_space(message.state_space, limits)
    if not isinstance(space, BoxSpace):
        raise WireError(f"a global state is a {type(space).__name__}; it is a Box of one axis")
    return space


def write_team(message: runner_service_pb2.Team, team: Team) -> None:
    """Fill a message."""
    check_names(team.agents)
    message.agents.extend(team.agents)
    message.num_copies = _num_copies(team.num_copies, team.agents)
    message.has_central_critic = team.has_central_critic


def read_team(message: runner_service_pb2.Team, limits: Limits) -> Team:
    """Return what a message says."""
    agents = _read_names(message.agents, limits)
    check_names(agents)
    return Team(
        agents=agents,
        num_copies=_num_copies(message.num_copies, agents),
        has_central_critic=message.has_central_critic,
    )


def _num_copies(num_copies: int, agents: Collection[str]) -> int:
    if num_copies not in {0, len(agents)}:
        raise ValueError(f"num_copies is {num_copies} and there are {len(agents)} agents; each is a copy")
    return num_copies


def _read_names(names: Collection[str], limits: Limits) -> tuple[str, ...]:
    limits.check("max_agents", len(names))
    limits.check("max_text_characters", max(map(len, names), default=0))
    return tuple(names)


def write_wanted(message: runner_service_pb2.PoliciesWanted, wanted: PoliciesWanted) -> None:
    """Fill a message."""
    _check_wanted(wanted)
    message.request = wanted.request
    message.policies.extend(wanted.policies)
    message.dropped.extend(wanted.dropped)


def read_wanted(message: runner_service_pb2.PoliciesWanted, limits: Limits) -> PoliciesWanted:
    """Return what a message says."""
    limits.check("max_policies", max(len(message.policies), len(message.dropped)))
    wanted = PoliciesWanted(
        request=message.request, policies=tuple(message.policies), dropped=tuple(message.dropped)
    )
    _check_wanted(wanted)
    return wanted


def _check_wanted(wanted: PoliciesWanted) -> None:
    number(wanted.request, "request", 1)
    for name in ("policies", "dropped"):
        numbers = getattr(wanted, name)
        if min(numbers, default=0) < 0 or len(set(numbers)) != len(numbers):
            raise ValueError(f"{name} are {list(numbers)[:8]}; they are numbers from 0, each once")
