"""Steps copies of an environment for several agents at the same time, each in a process of its own.

Axes: E = environment copies, A = agent slots, G = slots of a group.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from outrider.envrunner.agents.agent_slots import ActionArrays, AgentSlots, SlotArrays
from outrider.envrunner.agents.agents_error import AgentsError
from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep
from outrider.envrunner.agents.served_agents import ServedAgents, arrays_of
from outrider.envrunner.agents.sync_agents import MakeCopy
from outrider.envrunner.environments.environment_process import EnvironmentProcess
from outrider.envrunner.environments.environment_processes import EnvironmentProcesses
from outrider.envrunner.environments.shared_arrays import SharedMemory
from outrider.envrunner.environments.sync_vector import OnFailure


class AsyncAgents:
    """A `MultiAgentVector`. Observations and actions are in shared memory; only "step" and "done" are sent.

    A copy that raises, dies, or does not answer within `timeout_s` seconds is replaced, and `failed` says so.
    """

    def __init__(
        self,
        make: Sequence[MakeCopy],
        *,
        on_failure: OnFailure,
        timeout_s: float,
        spec: EnvSpec | None = None,
    ) -> None:
        """Start all processes and wait for them. Raises ValueError where the environment cannot be made."""
        self._make = tuple(make)
        self._on_failure = on_failure
        self._timeout_s = timeout_s
        self._spec = spec
        self.num_envs = len(self._make)
        self._memory = SharedMemory()
        self._processes = EnvironmentProcesses(self._start, self.num_envs)
        try:
            with self._processes.ended_by_errors():
                slots: AgentSlots = self._processes.introductions()[0]
                self._slots = slots
                self._arrays, self._actions = self._share()
        except BaseException:
            self._memory.close()
            raise
        self.agents, self.groups, self.state_space = slots.agents, slots.groups, slots.state_space

    @property
    def process_ids(self) -> list[int]:
        """Process of each copy."""
        return self._processes.ids

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        """Begin new episodes in all copies."""
        self._arrays.forget()
        for process, seed in zip(self._processes, seeds, strict=True):
            process.request("reset", seed)
        self._collect()
        self._arrays.forget()
        return self._arrays.step()

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        """Step every copy, and begin the next episode of those that are over."""
        self._actions.write(actions)
        for process in self._processes:
            process.request("step")
        return self._arrays.step(self._collect())

    def close(self) -> None:
        """End every process."""
        self._processes.close()
        self._memory.close()

    def _share(self) -> tuple[SlotArrays, ActionArrays]:
        """Lay out the arrays that all processes share with this one."""
        arrays_of(self._slots, self.num_envs, self._memory.measure)
        self._memory.reserve()
        shared = arrays_of(self._slots, self.num_envs, self._memory.allocate)
        for process in self._processes:
            process.request("share", self._slots)
        deadline = monotonic() + self._timeout_s
        for process in self._processes:
            process.answer(deadline)
        return shared

    def _collect(self) -> NDArray[np.bool_] | None:
        """Wait for all answers, and replace the copies that failed."""
        failed, broken = None, None
        deadline = monotonic() + self._timeout_s
        for index, process in enumerate(self._processes):
            try:
                broken = process.answer(deadline) or broken
            except Exception as error:  # noqa: BLE001 - any error of an environment means a new one
                if failed is None:
                    failed = np.zeros(self.num_envs, np.bool_)
                failed[index] = True
                self._replace(index, error)
        if broken is not None:
            raise broken
        return failed

    def _replace(self, index: int, error: Exception) -> None:
        """Start a new process where one failed. What goes wrong now is raised."""
        seed = self._on_failure(index, error)
        process = self._processes.replace(index)
        self._arrays.begin(index)
        process.request("share", self._slots)
        process.answer(monotonic() + self._timeout_s)
        process.request("reset", seed)
        broken: AgentsError | None = process.answer(monotonic() + self._timeout_s)
        if broken is not None:
            raise broken

    def _start(self, index: int) -> EnvironmentProcess:
        descriptor = self._memory.descriptor
        make = functools.partial(ServedAgents, self._make[index], index, self.num_envs, descriptor)
        return EnvironmentProcess(make, self._spec, inherit=(descriptor,))
