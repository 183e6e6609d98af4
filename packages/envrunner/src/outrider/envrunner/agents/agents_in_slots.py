"""Steps one copy of an environment for several agents, and writes what happens into its rows of the arrays.

    who acts      whoever the environment says, but for those that end in this step
    takes part    an agent from its first turn on, until it ends; it may come again in a later step
    rewards       as the environment tells them, also of those who take no part
    the end       ends everybody who takes part; the next episode begins in the same step

Axes: A = agent slots, G = slots of a group.
"""

# ruff: noqa: ANN401 - values of spaces have no common type

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider import wire
from outrider.envrunner.agents.actions_by_agent import ActionsByAgent
from outrider.envrunner.agents.agent_slots import AgentSlots, SlotArrays
from outrider.envrunner.agents.agents_copy import AgentsCopy, AgentsTurn
from outrider.envrunner.agents.agents_error import AgentsError, ForgottenEndError
from outrider.envrunner.agents.dictionary_agents import ALL
from outrider.envrunner.agents.returned_by_agents import bad_observation, bad_rewards, bad_state
from outrider.envrunner.environments.spaces import leaf_routes, space_from_gymnasium

_MOST_IDLE_STEPS = 10_000
"""Steps in a row in which nobody acts; after so many an environment waits for what never comes."""

Rows = dict[Any, tuple[Any, Any]]
"""By agent, where its observation goes: its shape and an array, or _NESTED and arrays with the keys that
lead to their leaves."""
_NESTED, _NO_SHAPE = object(), object()
_MISFITS = (TypeError, ValueError, LookupError)
"""What reading an observation raises that does not fit its space."""


class AgentsInSlots:
    """One environment copy and its rows of the arrays, which are nobody else's to write."""

    def __init__(self, copy: AgentsCopy, slots: AgentSlots, arrays: SlotArrays, index: int) -> None:
        """Write into row `index` of the arrays. No episode has begun."""
        self.copy = copy
        self._index = index
        self._slots = dict(zip(copy.agents, range(len(slots.agents)), strict=True))
        self._names = list(copy.agents)
        self._flagged = self._slots.keys() | {ALL}
        self._actions = ActionsByAgent(self._names, slots.groups)
        self._acting, self._rewards = arrays.acting[index], arrays.rewards[index]
        self._terminated, self._truncated = arrays.terminated[index], arrays.truncated[index]
        self._over = arrays.over[index : index + 1]
        self._shown = self._rows(slots, arrays.observations)
        self._last = self._rows(slots, arrays.last)
        self._state = None if arrays.state is None else arrays.state[index]
        self._last_state = None if arrays.last_state is None else arrays.last_state[index]
        self._playing: dict[Any, int] = {}
        """Slots of those who take part."""
        self._rewarded: list[Any] = []
        """Who got a reward in the last step, and their slots."""
        self._rewarded_slots = np.zeros(0, np.intp)
        self._turn_of: list[Any] = []
        """Who acts next."""
        self._num_idle = 0

    def reset(self, seed: int | None) -> None:
        """Begin an episode, whatever came before; the flags and rewards of its row are not touched."""
        turn = self.copy.reset(seed)
        if turn.over:
            raise AgentsError("nobody takes part after a reset; list in `agents` who begins")
        self._playing, self._turn_of, self._num_idle = {}, [], 0
        self._acting[...] = False
        self._show(turn, has_ends=False)

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Let those act whose turn it is, with {leaf path: [G, ...]} for each group.

        The environment may keep these arrays. The row's flags and rewards must be those of a step in which
        nothing has happened.
        """
        turn = self.copy.step(self._actions.of(self._turn_of, actions))
        self._reward(turn.rewards)
        has_ends = any(turn.terminated.values()) or any(turn.truncated.values())
        if has_ends or turn.over or turn.present is not None:
            self._end(turn, has_ends=has_ends)
        if not turn.over:
            self._show(turn, has_ends=has_ends)
            return
        self._over[0] = True
        if self._last_state is not None:
            # After terminations alone nobody needs it, and PettingZoo's multiwalker raises.
            is_needed = (self._truncated & ~self._terminated).any()
            if is_needed:
                self._write_state(self._last_state)
            else:
                self._last_state[...] = 0
        self.reset(None)

    def get_state(self) -> Any:
        """Return a tree to continue from; None where the environment cannot tell one."""
        env = self.copy.get_state()
        turn_of = [self._slots[name] for name in self._turn_of]
        playing = list(self._playing.values())
        return None if env is None else {"env": env, "turn_of": turn_of, "playing": playing}

    def set_state(self, state: Any) -> None:
        """Continue from what `get_state` returned; what the arrays show is not touched."""
        self.copy.set_state(state["env"])
        self._turn_of = [self._names[slot] for slot in state["turn_of"]]
        self._playing = {self._names[slot]: slot for slot in state["playing"]}

    def close(self) -> None:
        """Close the environment."""
        self.copy.close()

    def _reward(self, rewards: Mapping[Any, Any]) -> None:
        names = list(rewards)
        if names != self._rewarded:
            self._rewarded, self._rewarded_slots = names, self._find(names)
        values = list(rewards.values())
        try:
            self._rewards[self._rewarded_slots] = values
        except (TypeError, ValueError):
            raise bad_rewards(rewards) from None
        if None in values:  # of which NumPy has made nan
            raise bad_rewards(rewards)

    def _find(self, names: Collection[Any]) -> NDArray[np.intp]:
        try:
            return np.fromiter((self._slots[name] for name in names), np.intp, len(names))
        except KeyError as error:
            raise AgentsError(
                f"agent {error.args[0]!r} takes part and is none of possible_agents; list all there who may "
                "ever do so"
            ) from None

    def _end(self, turn: AgentsTurn, *, has_ends: bool) -> None:
        """Record the ends of this step, and refuse to go on where one was forgotten."""
        if has_ends:
            self._require_known(turn)
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
        if not gone and present == self._turn_of and len(self._playing) == len(self._turn_of):
            return  # all who take part acted, and are there
        if present is not None and not self._playing.keys() <= _names(present):
            forgotten = next(name for name in self._playing if name not in present)
            raise ForgottenEndError(str(forgotten), self._index)

    def _require_known(self, turn: AgentsTurn) -> None:
        """Refuse the end of somebody who does not exist: whoever was meant would play on for ever."""
        for flags in (turn.terminated, turn.truncated):
            for name in flags.keys() - self._flagged:
                if flags[name]:
                    raise AgentsError(
                        f"agent {name!r} is terminated or truncated and is none of possible_agents; flag "
                        "agents by their names there"
                    )

    def _keep_last(self, turn: AgentsTurn, name: Any, *, is_own: bool) -> None:
        """Keep what an agent saw last.

        Where the environment's end cut it off while others had their turn, that is what it saw at its own.
        """
        if name in turn.observations:
            try:
                _write(*self._last[name], turn.observations[name])
            except _MISFITS as error:
                raise self._misfit(name, turn.observations[name]) from error
        elif is_own:
            raise AgentsError(
                f"agent {name!r} is truncated in a step without an observation of it; show what it saw last, "
                "because the value of that is needed"
            )
        else:
            _copy(self._last[name][1], self._shown[name][1])

    def _show(self, turn: AgentsTurn, *, has_ends: bool) -> None:
        """Write what those see who act next: nobody who ends in this step."""
        acting = list(turn.acting)
        if has_ends:
            terminated, truncated = turn.terminated, turn.truncated
            acting = [name for name in acting if not (terminated.get(name) or truncated.get(name))]
        if acting != self._turn_of:
            self._take_turns(acting)
        observations, shown, name = turn.observations, self._shown, None
        try:
            for name in acting:
                shape, row = shown[name]
                seen = observations[name]
                if getattr(seen, "shape", _NO_SHAPE) == shape:
                    row[...] = seen  # nearly always, and a tenth of a microsecond faster
                else:
                    _write(shape, row, seen)
        except _MISFITS as error:
            if name not in observations:
                sentence = f"agent {name!r} is to act and there is no observation of it; show it one"
                raise AgentsError(sentence) from None
            raise self._misfit(name, observations[name]) from error
        if self._state is not None:
            self._write_state(self._state)
        if acting:
            self._num_idle = 0
        else:
            self._wait()

    def _write_state(self, row: NDArray[np.float32]) -> None:
        given = self.copy.state()
        try:
            state = np.asarray(given)
        except ValueError:  # lists of several lengths
            raise bad_state(given, self.copy.state_space) from None
        if state.dtype.kind not in "biuf" or state.size != row.size:  # one number would be stretched
            raise bad_state(given, self.copy.state_space)
        row[...] = state.reshape(-1)

    def _wait(self) -> None:
        """Count the steps in which nobody acts."""
        self._num_idle += 1
        if self._num_idle > _MOST_IDLE_STEPS:
            raise AgentsError(
                f"nobody has acted for {_MOST_IDLE_STEPS} steps and the episode goes on; end it by "
                'terminated["__all__"], or show observations to those who are to act'
            )

    def _take_turns(self, acting: list[Any]) -> None:
        self._turn_of = acting
        self._acting[...] = False
        slots = self._find(acting)
        self._acting[slots] = True
        self._playing.update(zip(acting, slots.tolist(), strict=True))

    def _misfit(self, name: Any, seen: Any) -> AgentsError:
        return bad_observation(name, seen, self.copy.observation_space(name))

    def _rows(self, slots: AgentSlots, columns_by_group: Sequence[wire.Columns]) -> Rows:
        rows: Rows = {}
        for group, columns in zip(slots.groups, columns_by_group, strict=True):
            routes = leaf_routes(space_from_gymnasium(group.observation_space))
            for member, slot in enumerate(group.slots):
                places = [(keys, columns[path][self._index, member, ...]) for path, keys in routes]
                is_plain = len(places) == 1 and not places[0][0]
                first = places[0][1]
                rows[self._names[slot]] = (first.shape, first) if is_plain else (_NESTED, places)
        return rows


def _write(shape: Any, row: Any, seen: Any) -> None:
    """Write what an agent sees. Raises one of _MISFITS for what NumPy would stretch, or make nan of."""
    for keys, place in [((), row)] if shape is not _NESTED else row:
        leaf = seen
        for key in keys:
            leaf = leaf[key]
        if leaf is None or np.shape(leaf) != place.shape:
            raise ValueError(f"{leaf!r} is not of shape {place.shape}")
        place[...] = leaf


def _copy(target: Any, source: Any) -> None:
    if type(target) is np.ndarray:
        target[...] = source
        return
    for (_, place), (_, value) in zip(target, source, strict=True):
        place[...] = value


def _names(present: Collection[Any]) -> Any:
    return present if isinstance(present, set | frozenset | dict) else set(present)
