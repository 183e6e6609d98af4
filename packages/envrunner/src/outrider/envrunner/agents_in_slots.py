"""Steps one copy of an environment for several agents, and writes what happens into its rows of the arrays.

    who acts      whoever the environment says, but for those that end in this step
    takes part    an agent from its first turn on, until it ends; it may come again in a later step
    rewards       of those who take part; of others they are left out, as no action of theirs led to them
    the end       ends everybody who takes part; the next episode begins in the same step

Axes: A = agent slots, G = slots of a group.
"""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider import wire
from outrider.envrunner.agent_slots import AgentSlots, SlotArrays
from outrider.envrunner.agents_copy import AgentsCopy, AgentsTurn
from outrider.envrunner.agents_error import AgentsError, ForgottenEndError
from outrider.envrunner.spaces import column_writer, leaf_routes, space_from_gymnasium

_MOST_IDLE_STEPS = 10_000
"""Steps in a row in which nobody acts; after so many an environment waits for what never comes."""

Rows = dict[Any, Any]
"""By agent, where its observation goes: an array, or arrays with the keys that lead to their leaves."""


class AgentsInSlots:
    """One environment copy and its rows of the arrays, which are nobody else's to write."""

    def __init__(self, copy: AgentsCopy, slots: AgentSlots, arrays: SlotArrays, index: int) -> None:
        """Write into row `index` of the arrays. No episode has begun."""
        self.copy = copy
        self._index = index
        self._slots = dict(zip(copy.agents, range(len(slots.agents)), strict=True))
        self._names = np.fromiter(copy.agents, np.object_, len(slots.agents))
        self._groups = [(group.slots, _taker(group.action_space)) for group in slots.groups]
        self._acting, self._rewards = arrays.acting[index], arrays.rewards[index]
        self._terminated, self._truncated = arrays.terminated[index], arrays.truncated[index]
        self._over = arrays.over[index : index + 1]
        self._shown = self._rows(slots, arrays.observations)
        self._last = self._rows(slots, arrays.last)
        self._state = None if arrays.state is None else arrays.state[index]
        self._last_state = None if arrays.last_state is None else arrays.last_state[index]
        self._playing: dict[Any, int] = {}
        """Slots of those who take part."""
        self._playing_slots = np.zeros(0, np.intp)
        self._turn_of: list[Any] = []
        """Who acts next."""
        self._num_idle = 0

    def reset(self, seed: int | None) -> None:
        """Begin an episode, whatever came before; the flags and rewards of its row are not touched."""
        turn = self.copy.reset(seed)
        if turn.over:
            raise AgentsError("nobody takes part after a reset; list in `agents` who begins")
        self._playing, self._turn_of, self._num_idle = {}, [], 0
        self._acting.fill(False)
        self._show(turn)

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Let those act whose turn it is, with {leaf path: [G, ...]} for each group; the arrays stay the
        environment's.

        The row's flags and rewards must be those of a step in which nothing has happened.
        """
        turn = self.copy.step(self._actions_of(actions))
        rewards = turn.rewards
        self._rewards[self._playing_slots] = [rewards.get(name, 0.0) for name in self._playing]
        has_ends = any(turn.terminated.values()) or any(turn.truncated.values())
        if has_ends or turn.over or turn.present is not None:
            self._end(turn, has_ends=has_ends)
        if not turn.over:
            self._show(turn)
            return
        self._over[0] = True
        if self._state is not None:
            self._last_state[...] = np.reshape(self.copy.state(), -1)  # type: ignore[index]
        self.reset(None)

    def close(self) -> None:
        """Close the environment."""
        self.copy.close()

    def _actions_of(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> dict[Any, Any]:
        """Return what each agent does whose turn it is."""
        turn_of = self._turn_of
        if len(turn_of) == 1:  # the rule in games of turns: do not look at the others' actions
            slot = self._slots[turn_of[0]]
            for (slots, take), columns in zip(self._groups, actions, strict=True):
                member = int(np.searchsorted(slots, slot))
                if member < len(slots) and slots[member] == slot:
                    return {turn_of[0]: take(columns, [member])[0]}
        found: dict[Any, Any] = {}
        everybody = len(turn_of) == len(self._slots)
        for (slots, take), columns in zip(self._groups, actions, strict=True):
            members = None if everybody else np.flatnonzero(self._acting[slots])
            names = self._names[slots] if members is None else self._names[slots[members]]
            found.update(zip(names, take(columns, members), strict=True))
        return found

    def _end(self, turn: AgentsTurn, *, has_ends: bool) -> None:
        """Record the ends of this step, and refuse to go on where one was forgotten."""
        gone: list[Any] = []
        present = turn.present
        for name, slot in self._playing.items() if has_ends or turn.over else ():
            terminated, truncated = bool(turn.terminated.get(name)), bool(turn.truncated.get(name))
            is_own = terminated or truncated
            if not is_own:
                terminated, truncated = turn.all_terminated, turn.all_truncated
            if not (terminated or truncated):
                continue
            self._terminated[slot], self._truncated[slot] = terminated, truncated
            gone.append(name)
            if truncated:
                self._keep_last(turn, name, is_own=is_own)
        for name in gone:
            del self._playing[name]
        if gone:
            self._playing_slots = np.fromiter(self._playing.values(), np.intp, len(self._playing))
        if present is not None and not self._playing.keys() <= _names(present):
            forgotten = next(name for name in self._playing if name not in present)
            raise ForgottenEndError(str(forgotten), self._index)

    def _keep_last(self, turn: AgentsTurn, name: Any, *, is_own: bool) -> None:
        """Keep what an agent saw last. Where the environment's end cut it off while others had their turn,
        that is what it saw at its own.
        """
        if name in turn.observations:
            _write(self._last[name], turn.observations[name])
        elif is_own:
            raise AgentsError(
                f"agent {name!r} is truncated in a step without an observation of it; show what it saw last, "
                "because the value of that is needed"
            )
        else:
            _copy(self._last[name], self._shown[name])

    def _show(self, turn: AgentsTurn) -> None:
        """Write what those see who act next."""
        acting: Collection[Any] = turn.acting
        if turn.terminated or turn.truncated:
            terminated, truncated = turn.terminated, turn.truncated
            if any(terminated.values()) or any(truncated.values()):
                acting = [name for name in acting if not (terminated.get(name) or truncated.get(name))]
        observations, shown, name = turn.observations, self._shown, None
        try:
            for name in acting:
                _write(shown[name], observations[name])
        except KeyError as error:
            raise self._unknown(name, turn) or error from error
        if acting != self._turn_of:
            self._take_turns(list(acting))
        self._num_idle = 0 if self._turn_of else self._num_idle + 1
        if self._num_idle > _MOST_IDLE_STEPS:
            raise AgentsError(
                f"nobody has acted for {_MOST_IDLE_STEPS} steps and the episode goes on; end it by "
                'terminated["__all__"], or show observations to those who are to act'
            )
        if self._state is not None:
            self._state[...] = np.reshape(self.copy.state(), -1)

    def _take_turns(self, acting: list[Any]) -> None:
        self._turn_of = acting
        self._acting.fill(False)
        slots = [self._slots[name] for name in acting]
        self._acting[slots] = True
        self._playing.update(zip(acting, slots, strict=True))
        self._playing_slots = np.fromiter(self._playing.values(), np.intp, len(self._playing))

    def _unknown(self, name: Any, turn: AgentsTurn) -> AgentsError | None:
        if name not in self._slots:
            return AgentsError(
                f"agent {name!r} takes part and is none of possible_agents; list all there who may ever do so"
            )
        if name not in turn.observations:
            return AgentsError(f"agent {name!r} is to act and there is no observation of it; show it one")
        return None

    def _rows(self, slots: AgentSlots, columns_by_group: Sequence[wire.Columns]) -> Rows:
        rows: Rows = {}
        for group, columns in zip(slots.groups, columns_by_group, strict=True):
            routes = leaf_routes(space_from_gymnasium(group.observation_space))
            for member, slot in enumerate(group.slots):
                places = [(keys, columns[path][self._index, member, ...]) for path, keys in routes]
                is_plain = len(places) == 1 and not places[0][0]
                rows[self._names[slot]] = places[0][1] if is_plain else places
        return rows


def _write(row: Any, observation: Any) -> None:
    if type(row) is np.ndarray:
        row[...] = observation
        return
    for keys, place in row:
        leaf = observation
        for key in keys:
            leaf = leaf[key]
        place[...] = leaf


def _copy(target: Any, source: Any) -> None:
    if type(target) is np.ndarray:
        target[...] = source
        return
    for (_, place), (_, value) in zip(target, source, strict=True):
        place[...] = value


def _names(present: Collection[Any]) -> Any:
    return present if isinstance(present, set | frozenset | dict) else set(present)


def _taker(space: Any) -> Callable[[Mapping[str, NDArray[Any]], Any], Sequence[Any]]:
    """Make what turns columns [G, ...] into the actions of some members, or of all (None), one by one."""
    writer = column_writer(space)
    if not isinstance(space_from_gymnasium(space), wire.DictSpace | wire.TupleSpace):
        return lambda columns, members: list(
            writer(columns) if members is None else writer({"": columns[""][members]})
        )

    def take(columns: Mapping[str, NDArray[Any]], members: Any) -> list[Any]:
        chosen = range(len(next(iter(columns.values())))) if members is None else members
        return [writer({path: column[member] for path, column in columns.items()}) for member in chosen]

    return take
