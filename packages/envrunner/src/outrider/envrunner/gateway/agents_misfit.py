"""What the agents of somebody else's environment differ in from those of the run, for a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from outrider.wire import Agents, space_difference
from outrider.wire.session import Join, Team

_SHOWN = 4


def agents_misfit(join: Join, ours: Agents, team: Team) -> str | None:
    """Return what differs as a sentence without its cure; None where nothing does.

    `ours` are the agents of the run's environment, which are copies of one where the team says so.
    """
    who = join.hello.component
    if team.num_copies:
        if join.agents is not None:
            return (
                f"the run has num_agents={team.num_copies} copies of an environment of one agent, and the "
                f"environment of {who} has {_agents(join.agents.names)} of its own"
            )
        return _spaces(join, join, ours.groups[0])
    if join.agents is None:
        return f"the environment of {who} has one agent, and that of the run has {_agents(ours.names)}"
    found = _names(who, join.agents.names, ours.names) or _groups(join, join.agents, ours)
    if found is None and team.has_central_critic:
        found = _state(who, join.agents, ours)
    return found


def _names(who: str, theirs: Sequence[str], ours: Sequence[str]) -> str | None:
    if theirs == ours:
        return None
    here, there = set(ours), set(theirs)
    missing = [name for name in ours if name not in there]
    if missing:
        return f"the environment of {who} lacks {_agents(missing)} of the run"
    more = [name for name in theirs if name not in here]
    if more:
        return f"the environment of {who} has {_agents(more)}, which the run does not have"
    slot = next(slot for slot, name in enumerate(ours) if theirs[slot] != name)
    return (
        f"the environment of {who} has its agents in another order than the run: {theirs[slot]!r} stands "
        f"where {ours[slot]!r} does"
    )


def _groups(join: Join, theirs: Agents, ours: Agents) -> str | None:
    """Compare each pair of groups once, however many agents share it."""
    group_of = {slot: group for group in theirs.groups for slot in group.slots}
    for our in ours.groups:
        compared: set[int] = set()
        for slot in our.slots:
            their = group_of[slot]
            if id(their) not in compared:
                compared.add(id(their))
                found = _spaces(join, their, our, f" of agent {ours.names[slot]!r}")
                if found is not None:
                    return found
    return None


def _spaces(join: Join, theirs: object, ours: object, of_whom: str = "") -> str | None:
    for name in ("observation_space", "action_space"):
        found = space_difference(
            getattr(theirs, name), getattr(ours, name), there="on the farm", here="in the run"
        )
        if found is not None:
            return f"the {name}{of_whom} of {join.hello.component} differs from that of the run: {found}"
    return None


def _state(who: str, theirs: Agents, ours: Agents) -> str | None:
    found = space_difference(theirs.state_space, ours.state_space, there="on the farm", here="in the run")
    if found is None:
        return None
    return f"the global state of {who}, which central critics see, differs from that of the run: {found}"


def _agents(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    noun = "agent" if len(names) == 1 else "agents"
    return f"{noun} {', '.join(repr(name) for name in names[:_SHOWN])}{more}"
