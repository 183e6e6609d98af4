"""Environments with several agents, many copies at once, as arrays: what a runner steps.

Axes: E = environment copies, A = agent slots, G = slots of a group, K = entries of a sparse list.

Every agent that may ever take part has a slot, whether it takes part now or not; slots with equal spaces
form a group, and a group's observations are arrays of their own:

    agents        "red_0"  "red_1"  "blue_0"
    slot             0        1        2
    groups        [  0        1  ]   [ 2 ]        red and blue observe different things

Simultaneous, turn-based and mixed environments are the same here: `acting` says who acts next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from outrider.wire import Columns


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentGroup:
    """Agent slots whose spaces are equal."""

    slots: NDArray[np.intp]
    """[G] ascending."""
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class LastObservations:
    """What agents of one group observed that were cut off in this step."""

    environments: NDArray[np.intp]
    """[K] environment copies."""
    members: NDArray[np.intp]
    """[K] positions in the group."""
    observations: Columns
    """[K, ...] by leaf path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiAgentStep:
    """What all copies show after a reset or a step. It is valid until the next one.

    An agent takes part in an episode from its first `acting` on until it is terminated or truncated; it
    may come again later in the same episode, which is another episode of its own. A copy whose episode
    is over was reset already: `acting` and `observations` are those of its next episode.
    """

    observations: Sequence[Columns]
    """For each group {leaf path: [E, G, ...]}; what stands where nobody acts means nothing."""
    acting: NDArray[np.bool_]
    """[E, A] who acts next."""
    rewards: NDArray[np.float32]
    """[E, A] what each agent got in this step, also one that did not act in it. In games of turns it may
    come together, when it is the agent's turn. What comes to one that takes no part led from no action."""
    terminated: NDArray[np.bool_]
    """[E, A] agents that reached an end of their own in this step."""
    truncated: NDArray[np.bool_]
    """[E, A] agents that were cut off in this step: something would have followed."""
    over: NDArray[np.bool_]
    """[E] environments whose episode ended in this step; every agent that took part is terminated or
    truncated by then."""
    last: Sequence[LastObservations]
    """For each group, what the truncated agents observed last; none is left out."""
    states: NDArray[np.float32] | None = None
    """[E, D] the global state, for central critics; None where nobody asked, or there is none."""
    last_states: NDArray[np.float32] | None = None
    """[K, D] the global state at the end of each episode that is `over`, in the order of copies. Where nobody
    was truncated without being terminated, nothing would have followed, and it means nothing."""
    failed: NDArray[np.bool_] | None = None
    """[E] copies that failed in this step and were made anew: nothing happened in it, and their episodes
    broke off before it. None where none failed."""


class MultiAgentVector(Protocol):
    """Copies of an environment for several agents. `outrider.testing.multi_agent_conformance` tests it."""

    @property
    def num_envs(self) -> int:
        """Copies E."""
        ...

    @property
    def agents(self) -> Sequence[str]:
        """Names [A] of all agents that may take part, by slot."""
        ...

    @property
    def groups(self) -> Sequence[AgentGroup]:
        """Slots with equal spaces, in the order of their first slot."""
        ...

    @property
    def state_space(self) -> gym.spaces.Box | None:
        """What `states` are like, [D]; None where the environment has no global state."""
        ...

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        """Begin new episodes in all copies, with a seed for each; nothing has ended."""
        ...

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        """Let everybody act who is `acting`, with the actions {leaf path: [E, G, ...]} of each group.

        Actions are in the environment's units; those of others are ignored.
        """
        ...

    def close(self) -> None:
        """Close all copies. Closing twice does nothing."""
        ...
