"""Returns and lengths of the episodes of agents and of whole environments, across fragments.

Axes: E = copies, A = agent slots, S = slots of all copies (e * A + a), T = steps, U = T + 1 columns: what
came before, then all steps; K = episodes that ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.sampling.folded_rows import by_slot
from outrider.envrunner.sampling.step_planes import StepPlanes

Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedEpisodes:
    """Episodes that ended in a fragment."""

    steps: Indices
    """[K] in which step."""
    places: Indices
    """[K] of which slot, or of which copy."""
    returns: NDArray[np.float32]
    lengths: NDArray[np.int64]
    """[K] actions of the agent, 0 where it got something without a turn; or steps of the copy."""

    def where(self, chosen: Flags) -> EndedEpisodes:
        """Return those that are chosen [K]."""
        return self._of(np.flatnonzero(chosen))

    def and_then(self, others: EndedEpisodes) -> EndedEpisodes:
        """Return these and others behind them."""
        return EndedEpisodes(
            **{
                each.name: np.concatenate([getattr(one, each.name) for one in (self, others)])
                for each in fields(self)
            }
        )

    def in_time(self) -> EndedEpisodes:
        """Return them in the order in which they ended."""
        return self._of(np.argsort(self.steps, kind="stable"))

    def _of(self, which: Indices) -> EndedEpisodes:
        return EndedEpisodes(**{each.name: getattr(self, each.name)[which] for each in fields(self)})


class EpisodeTotals:
    """What has come together in the unfinished episodes."""

    def __init__(self, num_envs: int, num_agents: int) -> None:
        """Start all at zero."""
        num_slots = num_envs * num_agents
        self._unfinished: dict[str, NDArray[Any]] = {
            "rewards": np.zeros(num_slots),
            "actions": np.zeros(num_slots, np.int64),
            "rewards_of_copy": np.zeros(num_slots),
            "actions_of_copy": np.zeros(num_slots, np.int64),
            "copy_rewards": np.zeros(num_envs),
            "copy_steps": np.zeros(num_envs, np.int64),
        }

    def forget(self) -> None:
        """Drop what is unfinished."""
        for column in self._unfinished.values():
            column[:] = 0

    def add(self, planes: StepPlanes) -> tuple[EndedEpisodes, EndedEpisodes]:
        """Add a fragment's steps; return the episodes that ended, of agents and of copies.

        What an agent gets while it takes no part belongs to its next episode within that of its copy. One
        that never acts in that, and gets something, has an episode of no actions: who wins a game of turns
        before its first turn has won.
        """
        started_TE, ended_TS = planes.started(), planes.ended()
        num_envs, num_agents, width = planes.num_envs, planes.num_agents, planes.num_steps + 1
        rewards_SU = by_slot(self._unfinished["rewards"], planes.rewards_TS)
        actions_SU = by_slot(self._unfinished["actions"], planes.acting_TS[:-1])
        begins_TS = np.repeat(started_TE, num_agents, 1)
        agents = self._stretches({"rewards": rewards_SU, "actions": actions_SU}, ended_TS | begins_TS)
        agents = agents.where(ended_TS[agents.steps, agents.places] & (agents.lengths > 0))
        rewards_EU = np.add.reduce(rewards_SU.reshape(num_envs, -1, width), 1)
        rewards_EU[:, 0] = self._unfinished["copy_rewards"]
        steps_EU = np.ones((num_envs, width), np.int64)
        steps_EU[:, 0] = self._unfinished["copy_steps"]
        copies = self._stretches({"copy_rewards": rewards_EU, "copy_steps": steps_EU}, started_TE)
        copies = copies.where(planes.over_TE[copies.steps, copies.places])
        if planes.acting_TS[:-1].all():  # the common case, in which there is nobody to look for
            self._unfinished["rewards_of_copy"][:] = 0
            self._unfinished["actions_of_copy"][:] = ~begins_TS[-1]
        else:
            rewards_SU[:, 0] = self._unfinished["rewards_of_copy"]
            actions_SU[:, 0] = self._unfinished["actions_of_copy"]
            idle = self._stretches({"rewards_of_copy": rewards_SU, "actions_of_copy": actions_SU}, begins_TS)
            is_over = planes.over_TE[idle.steps, idle.places // num_agents]
            agents = agents.and_then(idle.where(is_over & (idle.lengths == 0) & (idle.returns != 0)))
        return agents.in_time(), copies.in_time()

    def get_state(self) -> dict[str, Any]:
        """Return what is unfinished."""
        return {name: column.copy() for name, column in self._unfinished.items()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        for name, column in self._unfinished.items():
            column[:] = state[name]

    def _stretches(self, columns: Mapping[str, NDArray[Any]], stops: Flags) -> EndedEpisodes:
        """Sum rewards and lengths [places, U] up to `stops` [T, places], and what is left over for the next.

        Returns all stretches, those that no stop has ended among them.
        """
        width = len(stops) + 1
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
        return EndedEpisodes(steps=steps, places=places, returns=sums[0].astype(np.float32), lengths=sums[1])
