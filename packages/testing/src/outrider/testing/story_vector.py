"""The same story as a native vector of environments.

Axes: E = copies, A = agent slots, G = slots of a group.
"""

# ruff: noqa: ANN401 - actions have no common type

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import AgentGroup, LastObservations, MultiAgentStep
from outrider.testing.agent_script import Script
from outrider.testing.story_teller import (
    STATE_SPACE,
    Moment,
    StoryTeller,
    action_space,
    observation_space,
)


class StoryVector:
    """A `MultiAgentVector` of tellers, one after the other."""

    def __init__(self, scripts: Sequence[Script], *, num_envs: int, has_state: bool = True) -> None:
        """Let every copy tell the same scripts; seeds say with which each begins."""
        self.tellers = [StoryTeller(scripts) for _ in range(num_envs)]
        self.num_envs = num_envs
        self.agents = self.tellers[0].agents
        self.groups = story_groups(self.agents)
        self.state_space: gym.spaces.Box | None = STATE_SPACE if has_state else None
        self._acting: list[tuple[str, ...]] = []

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        """Begin in all copies."""
        pairs = zip(self.tellers, seeds, strict=True)
        return self._show([teller.begin(seed) for teller, seed in pairs], self._last([]), [])

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        """Step all copies."""
        moments, cut, last_states = [], [], []
        for copy, teller in enumerate(self.tellers):
            moment = teller.go_on({agent: self._action(actions, copy, agent) for agent in self._acting[copy]})
            cut += [(copy, agent) for agent, end in moment.ends.items() if end != "T"]
            cut += [(copy, agent) for agent in moment.cut if moment.all_end == "X"]
            moments.append(moment)
        last = self._last(cut)
        for index, (teller, moment) in enumerate(zip(self.tellers, moments, strict=True)):
            if moment.over:
                last_states.append(teller.state() if moment.cuts_off else np.zeros(3, np.float32))
                moments[index] = replace(moment, acting=teller.begin(None).acting)
        return self._show(moments, last, last_states)

    def close(self) -> None:
        """Hold nothing."""

    def _action(self, actions: Sequence[Mapping[str, NDArray[Any]]], copy: int, agent: str) -> Any:
        group, member = self._place(agent)
        return actions[group][""][copy, member]

    def _place(self, agent: str) -> tuple[int, int]:
        slot = self.agents.index(agent)
        return next(
            (index, group.slots.tolist().index(slot))
            for index, group in enumerate(self.groups)
            if slot in group.slots
        )

    def _last(self, cut: list[tuple[int, str]]) -> list[LastObservations]:
        found = []
        for index in range(len(self.groups)):
            of_group = [(copy, agent) for copy, agent in cut if self._place(agent)[0] == index]
            columns = self._nothing(index, (len(of_group),))
            for row, (copy, agent) in enumerate(of_group):
                _write(columns, row, self.tellers[copy].observe(agent))
            found.append(
                LastObservations(
                    environments=np.array([copy for copy, _ in of_group], np.intp),
                    members=np.array([self._place(agent)[1] for _, agent in of_group], np.intp),
                    observations=columns,
                )
            )
        return found

    def _show(
        self, moments: list[Moment], last: list[LastObservations], last_states: list[NDArray[np.float32]]
    ) -> MultiAgentStep:
        shape = (self.num_envs, len(self.agents))
        acting, terminated, truncated = (np.zeros(shape, np.bool_) for _ in range(3))
        rewards = np.zeros(shape, np.float32)
        observations = [
            self._nothing(index, (self.num_envs, len(group.slots))) for index, group in enumerate(self.groups)
        ]
        for copy, moment in enumerate(moments):
            for agent in moment.acting:
                group, member = self._place(agent)
                acting[copy, self.agents.index(agent)] = True
                _write(observations[group], (copy, member), self.tellers[copy].observe(agent))
            for agent, reward in moment.rewards.items():
                rewards[copy, self.agents.index(agent)] = reward
            for agent, end in {**moment.ends, **dict.fromkeys(moment.cut, moment.all_end)}.items():
                terminated[copy, self.agents.index(agent)] = end in {"T", "B"}
                truncated[copy, self.agents.index(agent)] = end in {"X", "B"}
        self._acting = [moment.acting for moment in moments]
        over = np.array([moment.over for moment in moments], np.bool_)
        states = np.stack([teller.state() for teller in self.tellers]) if self.state_space else None
        return MultiAgentStep(
            observations=observations,
            acting=acting,
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            over=over,
            last=last,
            states=states,
            last_states=np.stack(last_states) if last_states and self.state_space else None,
        )

    def _nothing(self, group: int, shape: tuple[int, ...]) -> dict[str, NDArray[Any]]:
        space = self.groups[group].observation_space
        if isinstance(space, gym.spaces.Dict):
            return {
                f"/{name}": np.full((*shape, *(leaf.shape or ())), -1, leaf.dtype)
                for name, leaf in space.spaces.items()
            }
        return {"": np.full((*shape, *(space.shape or ())), -1, space.dtype)}


def story_groups(agents: Sequence[str]) -> tuple[AgentGroup, ...]:
    """Put those together who are called alike."""
    teams = dict.fromkeys(agent.startswith("blue") for agent in agents)
    members = [
        [slot for slot, agent in enumerate(agents) if agent.startswith("blue") is team] for team in teams
    ]
    return tuple(
        AgentGroup(
            slots=np.array(slots, np.intp),
            observation_space=observation_space(agents[slots[0]]),
            action_space=action_space(agents[slots[0]]),
        )
        for slots in members
    )


def _write(columns: Mapping[str, NDArray[Any]], place: Any, observation: Any) -> None:
    if not isinstance(observation, Mapping):
        columns[""][place] = observation
        return
    for name, leaf in observation.items():
        columns[f"/{name}"][place] = leaf
