"""Lets the policies of one stack act for agents, all in one call, and writes down what they saw and did.

Axes: S = agent slots of all copies, N = rows of the stack in a step.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import AgentGroup, MultiAgentStep
from outrider.envrunner.policies.acting_rows import ActingRows
from outrider.envrunner.policies.acting_stack import ActingStack
from outrider.envrunner.policies.action_sampler import ActionSampler
from outrider.envrunner.policies.stack_rows import StackRows
from outrider.wire import Columns

_ACTIONS = 3
"""What random numbers are for, so that no two draw the same ones."""
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]


class StackActor:
    """A stack with its rows, the recurrent state of all slots, and what draws its actions."""

    def __init__(
        self,
        stack: ActingStack,
        groups: Mapping[int, AgentGroup],
        *,
        num_slots: int,
        drawn_by: tuple[int, ...],
        incarnation: int,
    ) -> None:
        """Act for agents of these `groups`, of which there is one at least.

        What it draws depends on the run's seed and the first copy's number, `drawn_by`, and on its name.
        """
        self.stack = stack
        seed, first_environment = drawn_by
        key = (first_environment, 0, _ACTIONS, incarnation, zlib.crc32(stack.name.encode()))
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
        action_space = next(iter(groups.values())).action_space
        self.sampler = ActionSampler(stack.action_heads, action_space, rng)
        self.rows = StackRows(stack.observation_space, stack.action_heads, stack.state_spec)
        self._in_environment_units = {
            number: ActionSampler(
                stack.action_heads, group.action_space, np.random.default_rng(0)
            ).in_environment_units
            for number, group in groups.items()
        }
        self.state: dict[str, NDArray[Any]] = {
            name: np.zeros((num_slots, *spec.shape), spec.dtype) for name, spec in stack.state_spec.items()
        }
        self._num_steps = 0

    def begin(self, num_steps: int) -> None:
        """Begin a fragment of so many steps."""
        self._num_steps = num_steps
        self.sampler.draw_noise(0, 0)  # what is left from the fragment before is not part of the state

    def act(
        self,
        number: int,
        acting: ActingRows,
        step: MultiAgentStep,
        acting_S: Flags,
        actions: Sequence[Mapping[str, NDArray[Any]]],
        *,
        explore: bool,
    ) -> None:
        """Open a row for each agent in step `number`, and write its action into `actions` [E * G, ...].

        Rows of those that do not act are there too where `acting` has them, but are never committed.
        """
        slots, rows = acting.slots, self.rows
        if not number:
            self.sampler.draw_noise(self._num_steps, len(slots))
        places = rows.reserve(number, slots)
        observations = self._see(acting, step, places)
        state = {name: column[slots] for name, column in self.state.items()}
        parameters, next_state = self.stack.act(observations, acting.policy, state)
        chosen = self.sampler.sample(parameters) if explore else self.sampler.most_likely(parameters)
        rows.parameters[places] = parameters
        for path, column in chosen.items():
            rows.actions[path][places] = column
        for part in acting.parts:
            own = chosen
            if len(acting.parts) > 1:
                own = {path: column[part.rows] for path, column in chosen.items()}
            for path, column in self._in_environment_units[part.group](own).items():
                actions[part.group][path][part.places] = column
        if next_state:
            self._remember(places, slots, acting_S[slots], state, next_state)

    def forget(self, slots: Flags | Indices) -> None:
        """Begin new episodes of the agents in some slots."""
        for column in self.state.values():
            column[slots] = 0

    def _see(self, acting: ActingRows, step: MultiAgentStep, places: slice) -> Columns:
        """Gather the observations of those that act, and return them."""
        observations = {path: column[places] for path, column in self.rows.observations.items()}
        for part in acting.parts:
            for path, shown in step.observations[part.group].items():
                column, flat = observations[path], shown.reshape(-1, *shown.shape[2:])
                if len(acting.parts) == 1 and flat.dtype == column.dtype:
                    flat.take(part.places, 0, column, "clip")  # twice as fast as through an array between
                else:
                    column[part.rows] = flat.take(part.places, 0)
        return observations

    def _remember(
        self, places: slice, slots: Indices, acts: Flags, state: Columns, next_state: Columns
    ) -> None:
        for name, column in state.items():
            self.rows.state[name][places] = column
        for name, column in next_state.items():
            self.state[name][slots[acts]] = column[acts]
