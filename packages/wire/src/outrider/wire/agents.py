"""Who takes part in an environment with several agents, and what they see and do, as plain values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from outrider.wire.space import BoxSpace, Space


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentGroup:
    """Agents whose spaces are equal."""

    slots: tuple[int, ...]
    """Places of the agents in `Agents.names`, ascending."""
    observation_space: Space
    action_space: Space


@dataclass(frozen=True, kw_only=True, slots=True)
class Agents:
    """All agents that may ever take part in an environment, and its global state."""

    names: tuple[str, ...]
    """By slot, each once."""
    groups: tuple[AgentGroup, ...]
    """Every slot is in one."""
    state_space: BoxSpace | None = None
    """What central critics see, of one axis; None where the environment has no global state."""

    def __post_init__(self) -> None:
        """Raise ValueError with the first rule that this breaks."""
        check_names(self.names)
        slots = [slot for group in self.groups for slot in group.slots]
        if sorted(slots) != list(range(len(self.names))):
            raise ValueError(
                f"groups have {len(slots)} slots of {len(self.names)} agents; each is in one group, once"
            )
        for group in self.groups:
            if not group.slots or list(group.slots) != sorted(group.slots):
                raise ValueError(f"a group has slots {list(group.slots)[:8]}; they ascend, and there is one")
        first = [group.slots[0] for group in self.groups]
        if first != sorted(first):
            raise ValueError(f"groups begin with slots {first[:8]}; they come in the order of these")
        if self.state_space is not None and self.state_space.low.ndim != 1:
            raise ValueError(f"a global state has shape {self.state_space.low.shape}; it has one axis")

    def group_of(self, slot: int) -> AgentGroup:
        """Return the group that a slot is in."""
        return next(group for group in self.groups if slot in group.slots)


def check_names(names: tuple[str, ...]) -> None:
    """Raise ValueError unless there are names of agents, each once."""
    if not names:
        raise ValueError("there are no agents; name at least one")
    if "" in names:
        raise ValueError(f"agent {names.index('')} has no name; every agent has one")
    if len(set(names)) != len(names):
        ((twice, _),) = Counter(names).most_common(1)
        raise ValueError(f"agent {twice!r} is named twice; each has a name of its own")
