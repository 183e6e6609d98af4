"""Steps copies of an environment for several agents one after the other in the calling process.

Axes: E = environment copies, A = agent slots, G = slots of a group.
"""

# ruff: noqa: ANN401 - trees have no type

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.agent_slots import SlotArrays, slots_of
from outrider.envrunner.agents.agents_copy import AgentsCopy
from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.agents.agents_in_slots import AgentsInSlots
from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep
from outrider.envrunner.environments.closing import close_all
from outrider.envrunner.environments.sync_vector import OnFailure

MakeCopy = Callable[[], AgentsCopy]


class SyncAgents:
    """A `MultiAgentVector`. A copy that raises is replaced, and `failed` says so."""

    def __init__(self, make: Sequence[MakeCopy], *, on_failure: OnFailure) -> None:
        """Make all copies."""
        self._make = tuple(make)
        self._on_failure = on_failure
        self.num_envs = len(self._make)
        made: list[AgentsCopy] = []
        try:
            made += (make_one() for make_one in self._make)
            slots = self._slots = slots_of(made[0])
        except BaseException:
            close_all(*made)
            raise
        self.agents, self.groups, self.state_space = slots.agents, slots.groups, slots.state_space
        self._arrays = SlotArrays(slots, self.num_envs)
        self.copies = [AgentsInSlots(copy, slots, self._arrays, i) for i, copy in enumerate(made)]

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        """Begin new episodes in all copies."""
        self._arrays.forget()
        for index, (copy, seed) in enumerate(zip(self.copies, seeds, strict=True)):
            try:
                copy.reset(seed)
            except AgentsError:
                raise
            except Exception as error:  # noqa: BLE001 - any error of an environment means a new one
                self._replace(index, error)
        return self._arrays.step()

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        """Step every copy, and begin the next episode of those that are over."""
        self._arrays.forget()
        own = [{path: np.array(column) for path, column in columns.items()} for columns in actions]
        failed = None
        for index, copy in enumerate(self.copies):
            try:
                copy.step([{path: column[index] for path, column in columns.items()} for columns in own])
            except AgentsError:
                raise
            except Exception as error:  # noqa: BLE001 - any error of an environment means a new one
                if failed is None:
                    failed = np.zeros(self.num_envs, np.bool_)
                failed[index] = True
                self._replace(index, error)
        return self._arrays.step(failed)

    def get_state(self) -> Any:
        """Return a tree to continue from; None where an environment cannot tell its own."""
        copies = [copy.get_state() for copy in self.copies]
        return None if None in copies else {"copies": copies, "shown": self._arrays.get_state()}

    def set_state(self, state: Any) -> None:
        """Continue from what `get_state` returned. Raises ValueError where it is of other environments."""
        if len(state["copies"]) != self.num_envs:
            raise ValueError(
                f"the saved state is of {len(state['copies'])} environment copies and there are "
                f"{self.num_envs}; resume with the settings of the run that saved it"
            )
        for copy, saved in zip(self.copies, state["copies"], strict=True):
            copy.set_state(saved)
        self._arrays.set_state(state["shown"])

    def close(self) -> None:
        """Close every copy."""
        close_all(*self.copies)

    def _replace(self, index: int, error: Exception) -> None:
        """Put a new copy where one failed. What goes wrong now is raised."""
        seed = self._on_failure(index, error)
        with contextlib.suppress(Exception):
            self.copies[index].close()
        self.copies[index] = AgentsInSlots(self._make[index](), self._slots, self._arrays, index)
        self._arrays.begin(index)
        self.copies[index].reset(seed)
