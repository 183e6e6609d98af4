"""Returns and lengths of the episodes of agents and of whole environments, across fragments.

Axes: E = copies, S = agent slots of all copies (e * A + a), K = episodes that ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.wire import AgentEpisodes

Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


class EpisodeTotals:
    """What has come together in the unfinished episodes, and the finished ones since they were taken.

    Rewards are summed up since a copy's episode began; what an agent got until its own episode began is
    remembered and subtracted, so that one addition in a step is enough for agents and environments.
    """

    def __init__(self, num_envs: int, num_agents: int) -> None:
        """Start all at zero."""
        self._num_agents = num_agents
        self._rewards_S = np.zeros(num_envs * num_agents)
        self._rewards_before_S = np.zeros(num_envs * num_agents)
        self._actions_S = np.zeros(num_envs * num_agents, np.int64)
        self._steps_E = np.zeros(num_envs, np.int64)
        self._by_copy = [
            column.reshape(num_envs, num_agents)
            for column in (self._rewards_S, self._rewards_before_S, self._actions_S)
        ]
        self._forget_finished()

    def add(self, rewards_S: NDArray[np.float32], acted_S: Flags) -> None:
        """Add a step."""
        self._rewards_S += rewards_S
        self._actions_S += acted_S
        self._steps_E += 1

    def end_agents(self, slots: Indices, policy: NDArray[np.int32], episode: NDArray[np.int64]) -> None:
        """End the episodes of agents [K] with their policies; those that never acted had none.

        `episode` is the number of the copy's episode for each.
        """
        rewards, num_actions = self._rewards_S[slots], self._actions_S[slots]
        self._agents.append((policy, slots, rewards - self._rewards_before_S[slots], num_actions, episode))
        self._rewards_before_S[slots] = rewards
        self._actions_S[slots] = 0

    def end_environments(self, environments: Indices) -> None:
        """End the episodes of whole copies."""
        returns = np.add.reduce(self._by_copy[0][environments], 1)
        self._environments.append((returns, self._steps_E[environments]))
        self.forget(environments)

    def forget(self, environments: Indices) -> None:
        """Drop what is unfinished in some copies."""
        for column in self._by_copy:
            column[environments] = 0
        self._steps_E[environments] = 0

    def take_agents(self, first_environment: int) -> AgentEpisodes:
        """Return the agents' episodes that ended, of all policies; copies are counted from the first on."""
        columns = map(np.concatenate, zip(*self._agents, strict=True))
        policy, slots, returns, lengths, episode = columns
        acted = lengths > 0
        slots = slots[acted]
        return AgentEpisodes(
            policy=policy[acted].astype(np.int32),
            agent=(slots % self._num_agents).astype(np.int32),
            returns=returns[acted].astype(np.float32),
            lengths=lengths[acted].astype(np.int64),
            environment=(first_environment + slots // self._num_agents).astype(np.int32),
            episode=episode[acted].astype(np.int64),
        )

    def take_environments(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return returns and lengths [K] of the environments' episodes that ended; forget all finished."""
        returns, lengths = map(np.concatenate, zip(*self._environments, strict=True))
        self._forget_finished()
        return returns.astype(np.float32), lengths.astype(np.int64)

    def get_state(self) -> dict[str, Any]:
        """Return what is unfinished."""
        return {
            "rewards": self._rewards_S.copy(),
            "rewards_before": self._rewards_before_S.copy(),
            "actions": self._actions_S.copy(),
            "steps": self._steps_E.copy(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        self._rewards_S[:] = state["rewards"]
        self._rewards_before_S[:] = state["rewards_before"]
        self._actions_S[:] = state["actions"]
        self._steps_E[:] = state["steps"]
        self._forget_finished()

    def _forget_finished(self) -> None:
        nothing = np.zeros(0, np.int64)
        self._agents: list[tuple[NDArray[Any], ...]] = [(nothing,) * 5]
        self._environments: list[tuple[NDArray[Any], ...]] = [(nothing, nothing)]
