"""Notes what the steps of a fragment brought to all agents, in arrays that are written once in a step.

Axes: T = steps, E = copies, A = agent slots, S = slots of all copies (e * A + a). Rows, rewards and episodes
are made of these planes once in a fragment: a NumPy call takes a microsecond, however little it has to do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep

Flags = NDArray[np.bool_]


class StepPlanes:
    """What happened in each step; written over in the next fragment."""

    def __init__(self, num_steps: int, num_envs: int, num_agents: int) -> None:
        """Reserve the memory."""
        self.num_steps, self.num_envs, self.num_agents = num_steps, num_envs, num_agents
        shape = (num_steps, num_envs, num_agents)
        self._acting = np.zeros((num_steps + 1, *shape[1:]), np.bool_)
        self._rewards = np.zeros(shape, np.float32)
        self._terminated = np.zeros(shape, np.bool_)
        self._truncated = np.zeros(shape, np.bool_)
        self.acting_TS = self._acting.reshape(num_steps + 1, -1)
        """[T + 1, S] who acts in each step, and in the one after the last."""
        self.rewards_TS = self._rewards.reshape(num_steps, -1)
        self.terminated_TS = self._terminated.reshape(num_steps, -1)
        self.truncated_TS = self._truncated.reshape(num_steps, -1)
        self.over_TE = np.zeros((num_steps, num_envs), np.bool_)
        """[T, E] copies whose episode ended in each step."""
        self.failed_TE = np.zeros((num_steps, num_envs), np.bool_)
        """[T, E] copies that failed in each step, in which nothing happened."""
        self.has_failed = False

    def begin(self, acting: Flags) -> None:
        """Begin a fragment in which those act first that are `acting` [E, A]."""
        self._acting[0] = acting
        self.failed_TE[...] = False
        self.has_failed = False

    def write(self, number: int, step: MultiAgentStep) -> None:
        """Note what a step brought, and who acts next."""
        self._rewards[number] = step.rewards
        self._terminated[number] = step.terminated
        self._truncated[number] = step.truncated
        self._acting[number + 1] = step.acting
        self.over_TE[number] = step.over
        if step.failed is not None:
            self.has_failed = True
            self.failed_TE[number] = step.failed
            for plane in (self._terminated, self._truncated):
                plane[number, step.failed] = False

    def ended(self) -> Flags:
        """Return [T, S] the agents whose episode ended in each step."""
        return self.terminated_TS | self.truncated_TS

    def started(self) -> Flags:
        """Return [T, E] the copies that a new episode began in after each step."""
        return self.over_TE | self.failed_TE
