"""Says where in the arrays of groups each agent slot is. Axes: E = copies, A = agent slots, S = e * A + a."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import AgentGroup


class SlotGroups:
    """The groups of a vector's agents, by slot."""

    def __init__(self, groups: Sequence[AgentGroup], num_envs: int, num_agents: int) -> None:
        """Lay out all copies."""
        self.groups, self.num_envs, self.num_agents = groups, num_envs, num_agents
        group, member, size = (np.zeros(num_agents, np.intp) for _ in range(3))
        for index, one in enumerate(groups):
            group[one.slots] = index
            member[one.slots] = np.arange(len(one.slots))
            size[one.slots] = len(one.slots)
        self.group_S: NDArray[np.intp] = np.tile(group, num_envs)
        """[S] the group of each slot."""
        self.place_S: NDArray[np.intp] = (np.arange(num_envs)[:, None] * size + member).reshape(-1)
        """[S] where it is in the group's arrays: e * G + g."""
