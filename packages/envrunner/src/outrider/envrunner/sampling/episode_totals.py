"""Returns and lengths of the episodes of agents and of whole environments, across fragments.

Axes: E = copies, A = agent slots, S = slots of all copies (e * A + a), T = steps, U = T + 1 columns: what
came before, then all steps; K = episodes that ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.sampling.folded_rows import by_slot
from outrider.envrunner.sampling.step_planes import StepPlanes

Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedEpisodes:
    """Episodes that ended in a fragment, in the order in which they ended."""

    steps: Indices
    """[K] in which step."""
    places: Indices
    """[K] of which slot, or of which copy."""
    returns: NDArray[np.float32]
    lengths: NDArray[np.int64]
    """[K] actions of the agent, or steps of the copy."""


class EpisodeTotals:
    """What has come together in the unfinished episodes."""

    def __init__(self, num_envs: int, num_agents: int) -> None:
        """Start all at zero."""
        num_slots = num_envs * num_agents
        self._unfinished: dict[str, NDArray[Any]] = {
            "rewards": np.zeros(num_slots),
            "actions": np.zeros(num_slots, np.int64),
            "copy_rewards": np.zeros(num_envs),
            "copy_steps": np.zeros(num_envs, np.int64),
        }

    def forget(self) -> None:
        """Drop what is unfinished."""
        for column in self._unfinished.values():
            column[:] = 0

    def add(self, planes: StepPlanes) -> tuple[EndedEpisodes, EndedEpisodes]:
        """Add a fragment's steps; return the episodes that ended, of agents that acted, and of copies.

        What an agent gets while it takes no part belongs to its next episode within that of its copy.
        """
        started_TE, ended_TS = planes.started(), planes.ended()
        num_envs, width = planes.num_envs, planes.num_steps + 1
        rewards_SU = by_slot(self._unfinished["rewards"], planes.rewards_TS)
        agents = self._ended(
            {"rewards": rewards_SU, "actions": by_slot(self._unfinished["actions"], planes.acting_TS[:-1])},
            ended_TS,
            ended_TS | np.repeat(started_TE, planes.num_agents, 1),
        )
        rewards_EU = np.add.reduce(rewards_SU.reshape(num_envs, -1, width), 1)
        rewards_EU[:, 0] = self._unfinished["copy_rewards"]
        steps_EU = np.ones((num_envs, width), np.int64)
        steps_EU[:, 0] = self._unfinished["copy_steps"]
        copies = self._ended({"copy_rewards": rewards_EU, "copy_steps": steps_EU}, planes.over_TE, started_TE)
        return agents, copies

    def get_state(self) -> dict[str, Any]:
        """Return what is unfinished."""
        return {name: column.copy() for name, column in self._unfinished.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        for name, column in self._unfinished.items():
            column[:] = state[name]

    def _ended(self, columns: Mapping[str, NDArray[Any]], ended: Flags, stops: Flags) -> EndedEpisodes:
        """Sum rewards and lengths [places, U] up to `stops` [T, places], where some episodes `ended`."""
        width = len(ended) + 1
        starts_SU = np.zeros((stops.shape[1], width), np.bool_)
        starts_SU[:, 0] = True
        starts_SU[:, 2:] = stops[:-1].T
        starts = np.flatnonzero(starts_SU)
        lasts = np.append(starts[1:], starts_SU.size) - 1
        places, steps = np.divmod(lasts, width)
        steps -= 1
        is_stopped = stops[steps, places]
        is_last = steps == width - 2
        sums = []
        for name, column in columns.items():
            sums.append(np.add.reduceat(column.ravel(), starts))
            self._unfinished[name][:] = np.where(is_stopped, 0, sums[-1])[is_last]
        which = np.flatnonzero(ended[steps, places] & (sums[1] > 0))
        which = which[np.argsort(steps[which], kind="stable")]
        return EndedEpisodes(
            steps=steps[which],
            places=places[which],
            returns=sums[0][which].astype(np.float32),
            lengths=sums[1][which],
        )
