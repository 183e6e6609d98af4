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

from outrider.envrunner.folded_rows import by_slot
from outrider.envrunner.step_planes import StepPlanes

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
        started_TE = planes.started()
        ended_TS = planes.ended()
        agents = self._ended(
            ("rewards", planes.rewards_TS),
            ("actions", planes.acting_TS[:-1]),
            ended_TS,
            ended_TS | np.repeat(started_TE, planes.num_agents, 1),
        )
        rewards_TE = np.add.reduce(
            planes.rewards_TS.reshape(*started_TE.shape, planes.num_agents), 2, dtype=np.float64
        )
        copies = self._ended(
            ("copy_rewards", rewards_TE),
            ("copy_steps", np.ones_like(started_TE)),
            planes.over_TE,
            started_TE,
        )
        return agents, copies

    def get_state(self) -> dict[str, Any]:
        """Return what is unfinished."""
        return {name: column.copy() for name, column in self._unfinished.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        for name, column in self._unfinished.items():
            column[:] = state[name]

    def _ended(
        self,
        rewards: tuple[str, NDArray[Any]],
        lengths: tuple[str, NDArray[Any]],
        ended: Flags,
        stops: Flags,
    ) -> EndedEpisodes:
        """Sum up to each of the `stops` [T, places], at some of which episodes have `ended`."""
        width = len(ended) + 1
        stops_SU = by_slot(np.zeros(stops.shape[1], np.bool_), stops)
        starts_SU = np.ones_like(stops_SU)
        starts_SU[:, 1:] = stops_SU[:, :-1]
        starts = np.flatnonzero(starts_SU)
        lasts = np.append(starts[1:], starts_SU.size) - 1
        is_stopped = stops_SU.ravel()[lasts]
        places, columns = np.divmod(lasts, width)
        sums = []
        for name, plane in (rewards, lengths):
            unfinished = self._unfinished[name]
            sums.append(np.add.reduceat(by_slot(unfinished, plane).ravel(), starts))
            unfinished[:] = np.where(is_stopped, 0, sums[-1])[columns == width - 1]
        has_ended = np.flatnonzero(is_stopped & (sums[1] > 0))
        has_ended = has_ended[ended[columns[has_ended] - 1, places[has_ended]]]
        has_ended = has_ended[np.argsort(columns[has_ended], kind="stable")]
        return EndedEpisodes(
            steps=columns[has_ended] - 1,
            places=places[has_ended],
            returns=sums[0][has_ended].astype(np.float32),
            lengths=sums[1][has_ended],
        )
