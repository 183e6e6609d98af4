"""An environment for several agents in a process of its own, as `AsyncAgents` asks for it."""

# ruff: noqa: ANN401 - answers have no common type

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from outrider.envrunner.agents.agent_slots import ActionArrays, AgentSlots, Allocate, SlotArrays, slots_of
from outrider.envrunner.agents.agents_copy import AgentsCopy
from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.agents.agents_in_slots import AgentsInSlots
from outrider.envrunner.environments.shared_arrays import SharedMemory


class ServedAgents:
    """Writes what happens into shared memory, where it finds the actions too; answers carry errors only."""

    def __init__(self, make: Callable[[], AgentsCopy], index: int, num_envs: int, descriptor: int) -> None:
        """Make the environment, copy `index` of `num_envs`."""
        self._copy = make()
        self._index, self._num_envs, self._descriptor = index, num_envs, descriptor

    def introduction(self) -> AgentSlots:
        """Return who there is."""
        return slots_of(self._copy)

    def answer(self, command: str, argument: Any) -> AgentsError | None:
        """Do "share" (memory is reserved now), "reset" with a seed, or "step"."""
        try:
            if command == "share":
                self._share(argument)
            elif command == "reset":
                self._agents.reset(argument)
            else:
                self._arrays.begin(self._index)
                self._agents.step(
                    [
                        {path: np.array(column[self._index]) for path, column in columns.items()}
                        for columns in self._actions.columns
                    ]
                )
        except AgentsError as error:
            return error
        return None

    def close(self) -> None:
        """Close the environment."""
        self._copy.close()

    def _share(self, slots: AgentSlots) -> None:
        memory = SharedMemory(self._descriptor)
        self._arrays, self._actions = arrays_of(slots, self._num_envs, memory.allocate)
        self._agents = AgentsInSlots(self._copy, slots, self._arrays, self._index)


def arrays_of(slots: AgentSlots, num_envs: int, allocate: Allocate) -> tuple[SlotArrays, ActionArrays]:
    """Make all arrays that both sides use, in the same order on both."""
    return SlotArrays(slots, num_envs, allocate), ActionArrays(slots, num_envs, allocate)
