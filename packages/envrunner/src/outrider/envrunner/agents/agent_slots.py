"""Which agents an environment has, which of them have equal spaces, and arrays for all of its copies.

Axes: E = environment copies, A = agent slots, G = slots of a group, D = numbers of the global state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import DTypeLike, NDArray

from outrider import wire
from outrider.envrunner.agents.agents_copy import AgentsCopy
from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.agents.multi_agent_vector import AgentGroup, LastObservations, MultiAgentStep
from outrider.envrunner.environments.spaces import space_from_gymnasium

Allocate = Callable[[tuple[int, ...], DTypeLike], NDArray[Any]]
"""Makes an array of zeros."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentSlots:
    """The agents of an environment and what they see and do."""

    agents: tuple[str, ...]
    """[A] names by slot."""
    groups: tuple[AgentGroup, ...]
    """Slots with equal spaces, in the order of their first slot."""
    state_space: gym.spaces.Box | None = None
    """What the global state is like, [D]."""


def slots_of(copy: AgentsCopy) -> AgentSlots:
    """Give every agent of an environment a slot. Raises ValueError where names are missing or used twice."""
    names = tuple(str(name) for name in copy.agents)
    if not names:
        raise ValueError("possible_agents is empty; list all agents that may ever take part")
    if len(set(names)) != len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise ValueError(f"possible_agents names {twice!r} twice; give each agent a name of its own")
    spaces = [(copy.observation_space(name), copy.action_space(name)) for name in copy.agents]
    groups, state_space = group_agents(spaces), flat_state_space(copy.state_space)
    _require_playable(names, groups)
    if state_space is not None and not callable(copy.state):
        raise AgentsError(f"there is a state_space, and state is {copy.state!r}; give a method state()")
    return AgentSlots(agents=names, groups=groups, state_space=state_space)


def _require_playable(agents: Sequence[str], groups: Sequence[AgentGroup]) -> None:
    """Refuse what no policy can see or do, and name the first agent of those that would."""
    for group in groups:
        try:
            for leaf in wire.leaves(space_from_gymnasium(group.observation_space)).values():
                wire.leaf_shape(leaf)
            wire.action_heads(space_from_gymnasium(group.action_space))
        except ValueError as error:
            raise AgentsError(f"agent {agents[group.slots[0]]!r}: {error}") from None


def group_agents(spaces: Sequence[tuple[gym.Space[Any], gym.Space[Any]]]) -> tuple[AgentGroup, ...]:
    """Put slots together whose observation space and action space are equal."""
    by_identity: dict[tuple[int, int], list[int]] = {}
    alike: dict[str, list[tuple[tuple[gym.Space[Any], gym.Space[Any]], list[int]]]] = defaultdict(list)
    found = []
    for slot, pair in enumerate(spaces):
        same = by_identity.get((id(pair[0]), id(pair[1])))
        if same is not None:
            same.append(slot)
            continue
        candidates = alike[repr(pair)]  # equal spaces print alike: few comparisons, which take 20 us each
        members = next((members for known, members in candidates if _equal(known, pair)), None)
        if members is None:
            members = []
            candidates.append((pair, members))
            found.append((pair, members))
        members.append(slot)
        by_identity[id(pair[0]), id(pair[1])] = members
    return tuple(
        AgentGroup(slots=np.array(members, np.intp), observation_space=pair[0], action_space=pair[1])
        for pair, members in found
    )


def wire_agents(
    agents: Sequence[str], groups: Sequence[AgentGroup], state_space: gym.spaces.Box | None
) -> wire.Agents:
    """Return what a runner says of its environment's agents to those elsewhere."""
    state = None if state_space is None else space_from_gymnasium(state_space)
    assert state is None or isinstance(state, wire.BoxSpace)
    return wire.Agents(
        names=tuple(agents),
        groups=tuple(
            wire.AgentGroup(
                slots=tuple(map(int, group.slots)),
                observation_space=space_from_gymnasium(group.observation_space),
                action_space=space_from_gymnasium(group.action_space),
            )
            for group in groups
        ),
        state_space=state,
    )


def _equal(known: tuple[Any, Any], pair: tuple[Any, Any]) -> bool:
    return all(one is other or one == other for one, other in zip(known, pair, strict=True))


def flat_state_space(space: object) -> gym.spaces.Box | None:
    """Return the space of global states as one axis of float32; None for what is no Box."""
    if not isinstance(space, gym.spaces.Box):
        return None
    return gym.spaces.Box(space.low.ravel().astype(np.float32), space.high.ravel().astype(np.float32))


class SlotArrays:
    """What all copies show, one row of each array a copy."""

    def __init__(self, slots: AgentSlots, num_envs: int, allocate: Allocate = np.zeros) -> None:
        """Reserve the memory."""
        shape = (num_envs, len(slots.agents))
        self._groups = slots.groups
        spaces = [space_from_gymnasium(group.observation_space) for group in slots.groups]
        sizes = [len(group.slots) for group in slots.groups]
        self.observations = [_columns(*one, num_envs, allocate) for one in zip(spaces, sizes, strict=True)]
        self.last = [_columns(*one, num_envs, allocate) for one in zip(spaces, sizes, strict=True)]
        self.acting = allocate(shape, np.bool_)
        self.rewards = allocate(shape, np.float32)
        self.terminated = allocate(shape, np.bool_)
        self.truncated = allocate(shape, np.bool_)
        self.over = allocate((num_envs,), np.bool_)
        self.state: NDArray[np.float32] | None = None
        self.last_state: NDArray[np.float32] | None = None
        if slots.state_space is not None:
            self.state = allocate((num_envs, *slots.state_space.shape), np.float32)
            self.last_state = allocate((num_envs, *slots.state_space.shape), np.float32)
        empty = np.zeros(0, np.intp)
        self._nobody = [
            LastObservations(
                environments=empty,
                members=empty,
                observations={path: c[empty, empty] for path, c in columns.items()},
            )
            for columns in self.last
        ]

    def forget(self) -> None:
        """Begin a step in which nothing has happened yet."""
        self.rewards[...] = 0
        self.terminated[...] = self.truncated[...] = self.over[...] = False

    def begin(self, index: int) -> None:
        """Do the same for one copy."""
        self.rewards[index] = 0
        self.terminated[index] = self.truncated[index] = self.over[index] = False

    def get_state(self) -> dict[str, Any]:
        """Return a tree of who acts and of what was shown last."""
        observations = [{path: c.copy() for path, c in columns.items()} for columns in self.observations]
        state = None if self.state is None else self.state.copy()
        return {"acting": self.acting.copy(), "observations": observations, "state": state}

    def set_state(self, saved: Mapping[str, Any]) -> None:
        """Show that again."""
        self.forget()
        self.acting[...] = saved["acting"]
        for columns, before in zip(self.observations, saved["observations"], strict=True):
            for path, column in columns.items():
                column[...] = before[path]
        if self.state is not None:
            self.state[...] = saved["state"]

    def step(self, failed: NDArray[np.bool_] | None = None) -> MultiAgentStep:
        """Return what the arrays hold; it shares their memory."""
        any_over = self.over.any()
        return MultiAgentStep(
            observations=self.observations,
            acting=self.acting,
            rewards=self.rewards,
            terminated=self.terminated,
            truncated=self.truncated,
            over=self.over,
            last=self._last() if self.truncated.any() else self._nobody,
            states=self.state,
            last_states=self.last_state[self.over] if any_over and self.last_state is not None else None,
            failed=failed,
        )

    def _last(self) -> list[LastObservations]:
        found = []
        for group, columns in zip(self._groups, self.last, strict=True):
            environments, members = np.nonzero(self.truncated[:, group.slots])
            observations = {path: column[environments, members] for path, column in columns.items()}
            found.append(
                LastObservations(environments=environments, members=members, observations=observations)
            )
        return found


class ActionArrays:
    """What all agents do in all copies, for each group {leaf path: [E, G, ...]}."""

    def __init__(self, slots: AgentSlots, num_envs: int, allocate: Allocate = np.zeros) -> None:
        """Reserve the memory."""
        self.columns = [
            _columns(space_from_gymnasium(group.action_space), len(group.slots), num_envs, allocate)
            for group in slots.groups
        ]

    def write(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Copy actions to where environments look for them."""
        for columns, given in zip(self.columns, actions, strict=True):
            for path, column in columns.items():
                column[...] = given[path]


def _columns(space: wire.Space, size: int, num_envs: int, allocate: Allocate) -> dict[str, NDArray[Any]]:
    return {
        path: allocate((num_envs, size, *wire.leaf_shape(leaf)), wire.leaf_dtype(leaf))
        for path, leaf in wire.leaves(space).items()
    }
