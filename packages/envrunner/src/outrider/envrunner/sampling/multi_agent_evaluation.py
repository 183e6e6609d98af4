"""Plays whole episodes of several agents with fixed seeds, apart from training, and says how they went.

Axes: E = environment copies, A = agent slots, S = slots of all copies (e * A + a), N rows, K = episodes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import MultiAgentStep, MultiAgentVector
from outrider.envrunner.agents.slot_groups import SlotGroups
from outrider.envrunner.environments.closing import close_all
from outrider.envrunner.environments.restarts import Restarts
from outrider.envrunner.environments.sync_vector import OnFailure
from outrider.envrunner.policies.acting_rows import ActingLayouts, ActingRows
from outrider.envrunner.policies.acting_stack import ActingStack
from outrider.envrunner.policies.action_sampler import ActionSampler
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.policy_mapping import Episode, PolicyMapping
from outrider.envrunner.sampling.action_arrays import ActionArrays
from outrider.wire import AgentEpisodes, EpisodeStatistics

_LOGGER = logging.getLogger("outrider.envrunner")

_MAX_EPISODE_STEPS = 30_000
"""More than Atari's longest episode has."""


def evaluate_agents(
    make_vector: Callable[[int, OnFailure], MultiAgentVector],
    stacks: Sequence[ActingStack],
    mapping: PolicyMapping,
    policies: Sequence[PolicyEntry],
    *,
    num_episodes: int,
    num_envs: int,
    seed: int,
    max_env_restarts: int,
    explore: bool = False,
    on_step: Callable[[int], None] | None = None,
) -> EpisodeStatistics:
    """Play `num_episodes` episodes and return them in the order of their seeds, and so those of agents.

    `make_vector` makes copies, as many as it is told to, and they are closed. Episode i starts from seed
    `seed` + i, and its mapping is drawn from that seed, so that neither `num_envs` nor the other episodes
    change it. Policies take their most likely action; with `explore` actions are drawn, in the order in which
    they are taken, from `seed`. An episode of 30,000 steps is cut and counted with a warning.
    `on_step` is called after each step with the number of episodes that have ended.
    """
    if num_episodes < 1:
        raise ValueError(f"num_episodes is {num_episodes}; it must be at least 1")
    num_envs = min(num_envs, num_episodes)
    restarts = Restarts(max_env_restarts)
    first = seed

    def restart(copy: int, error: BaseException) -> int:
        restarts.record(copy, error)
        return first + copy

    vector = make_vector(num_envs, restart)
    try:
        rng = np.random.default_rng(seed) if explore else None
        play = _Play(vector, stacks, policies, rng, on_step)
        for first in range(seed, seed + num_episodes, num_envs):
            num_counted = min(num_envs, seed + num_episodes - first)
            play.wave(mapping, first - seed, seed, num_counted)
    finally:
        close_all(vector)
    return play.statistics()


class _Play:
    """Episodes side by side: all copies begin together, and the next ones begin when all have ended."""

    def __init__(
        self,
        vector: MultiAgentVector,
        stacks: Sequence[ActingStack],
        policies: Sequence[PolicyEntry],
        rng: np.random.Generator | None,
        on_step: Callable[[int], None] | None,
    ) -> None:
        self._rng = rng
        self._vector, self._stacks, self._on_step = vector, stacks, on_step
        self._shape = (vector.num_envs, len(vector.agents))
        self._layouts = ActingLayouts(SlotGroups(vector.groups, *self._shape))
        index = {stack.name: position for position, stack in enumerate(stacks)}
        self._stack_of = np.full(1 + max(policy.number for policy in policies), -1, np.intp)
        for policy in policies:
            self._stack_of[policy.number] = index[policy.stack]
        self._actions = ActionArrays(vector)
        self._samplers: dict[tuple[int, int], ActionSampler] = {}
        """By stack and group of agents."""
        self._environments: list[tuple[float, int]] = []
        self._agents: list[tuple[int, int, int, float, int]] = []

    def wave(self, mapping: PolicyMapping, first: int, seed: int, num_counted: int) -> None:
        """Play one episode in each copy, and count those of the first `num_counted`."""
        num_envs, num_agents = self._shape
        numbers = [first + copy for copy in range(num_envs)]
        policy_S = np.concatenate([mapping.assign(_episode(number, seed)) for number in numbers])
        self._layouts.assign(policy_S, self._stack_of[policy_S])
        state = [
            {
                name: np.zeros((policy_S.size, *spec.shape), spec.dtype)
                for name, spec in stack.state_spec.items()
            }
            for stack in self._stacks
        ]
        total_S, actions_S = np.zeros(policy_S.size), np.zeros(policy_S.size, np.int64)
        all_S, has_acted_S = np.zeros(policy_S.size), np.zeros(policy_S.size, np.bool_)
        returns_E, steps_E = np.zeros(num_envs), np.zeros(num_envs, np.int64)
        is_over_E = np.arange(num_envs) >= num_counted
        step = self._vector.reset([seed + number for number in numbers])
        while not is_over_E.all():
            acted_S = step.acting.reshape(-1).copy()
            self._act(step, state)
            step = self._vector.step(self._actions.columns)
            counts_E = ~is_over_E if step.failed is None else ~is_over_E & ~step.failed
            total_S += step.rewards.reshape(-1)
            all_S += step.rewards.reshape(-1)
            actions_S += acted_S
            has_acted_S |= acted_S
            returns_E[counts_E] += step.rewards.sum(1, dtype=np.float64)[counts_E]
            steps_E += counts_E
            if step.failed is not None:
                broken_E = step.failed & ~is_over_E
                self._begin_again(
                    broken_E, state, (total_S, actions_S, all_S, has_acted_S), (returns_E, steps_E)
                )
                broken = {numbers[copy] for copy in np.flatnonzero(broken_E)}
                self._agents = [one for one in self._agents if one[0] not in broken]
            is_cut_E = counts_E & (steps_E >= _MAX_EPISODE_STEPS) & ~step.over
            ended_S = (step.terminated | step.truncated | is_cut_E[:, None]).reshape(-1)
            is_over_S = np.repeat(counts_E & (step.over | is_cut_E), num_agents)
            # Whoever won or lost without a turn did so all the same.
            idle_S = is_over_S & ~has_acted_S & (all_S != 0)
            ended = np.flatnonzero(ended_S & np.repeat(counts_E, num_agents) & (actions_S > 0))
            for slots, sums_S in ((ended, total_S), (np.flatnonzero(idle_S), all_S)):
                for slot in slots.tolist():
                    copy, agent = divmod(slot, num_agents)
                    told = (int(policy_S[slot]), agent, float(sums_S[slot]), int(actions_S[slot]))
                    self._agents.append((numbers[copy], *told))
            total_S[ended_S], actions_S[ended_S] = 0, 0
            for columns in state:
                for column in columns.values():
                    column[ended_S] = 0
            if is_cut_E.any():
                _LOGGER.warning(
                    "an episode was cut after %d steps; it counts as it was then", _MAX_EPISODE_STEPS
                )
            is_over_E |= counts_E & (step.over | is_cut_E)
            if self._on_step is not None:
                self._on_step(len(self._environments) + int(is_over_E[:num_counted].sum()))
        self._environments += zip(
            returns_E[:num_counted].tolist(), steps_E[:num_counted].tolist(), strict=True
        )

    def statistics(self) -> EpisodeStatistics:
        """Return all episodes, in the order of their seeds."""
        returns, lengths = zip(*self._environments, strict=True)
        agents = sorted(self._agents, key=lambda one: one[0])
        columns = list(zip(*agents, strict=True)) or [()] * 5
        return EpisodeStatistics(
            returns=np.array(returns, np.float32),
            lengths=np.array(lengths, np.int64),
            agents=AgentEpisodes(
                policy=np.array(columns[1], np.int32),
                agent=np.array(columns[2], np.int32),
                returns=np.array(columns[3], np.float32),
                lengths=np.array(columns[4], np.int64),
                environment=np.array(columns[0], np.int32),
                episode=np.zeros(len(agents), np.int64),
            ),
        )

    def _act(self, step: MultiAgentStep, state: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        """Fill in the actions of everybody whose turn it is."""
        acting_S = step.acting.reshape(-1)
        rows_of_stacks = self._layouts.rows(acting_S)
        for index, (stack, rows) in enumerate(zip(self._stacks, rows_of_stacks, strict=False)):
            if not len(rows.slots):
                continue
            before = {name: column[rows.slots] for name, column in state[index].items()}
            parameters, after = stack.act(_observed(step, rows), rows.policy, before)
            acts = acting_S[rows.slots]  # some are only computed
            for name, column in after.items():
                state[index][name][rows.slots[acts]] = column[acts]
            sampler = self._sampler(index, rows.parts[0].group)
            chosen = sampler.most_likely(parameters) if self._rng is None else sampler.sample(parameters)
            for part in rows.parts:
                own = {path: column[part.rows] for path, column in chosen.items()}
                units = self._sampler(index, part.group).in_environment_units(own)
                for path, column in units.items():
                    self._actions.flat[part.group][path][part.places] = column

    def _sampler(self, index: int, group: int) -> ActionSampler:
        if (index, group) not in self._samplers:
            space = self._vector.groups[group].action_space
            rng = self._rng or np.random.default_rng(0)  # the latter draws nothing
            self._samplers[index, group] = ActionSampler(self._stacks[index].action_heads, space, rng)
        return self._samplers[index, group]

    def _begin_again(
        self,
        failed_E: NDArray[np.bool_],
        state: Sequence[Mapping[str, NDArray[Any]]],
        of_slots: Sequence[NDArray[Any]],
        of_copies: Sequence[NDArray[Any]],
    ) -> None:
        """Forget the episodes of copies that failed: they were made anew with the same seeds."""
        failed_S = np.repeat(failed_E, self._shape[1])
        for columns in state:
            for column in columns.values():
                column[failed_S] = 0
        for column in of_slots:
            column[failed_S] = 0
        for column in of_copies:
            column[failed_E] = 0


def _episode(number: int, seed: int) -> Episode:
    """Return what mappings see of an evaluation's episode.

    Each is one of an environment of its own, by turns of an odd and an even number: mappings that let agents
    change sides from episode to episode do so here too.
    """
    id_ = f"evaluation-{seed + number}"
    return Episode(id_=id_, environment=number, number=number // 2, seed=(seed + number,))


def _observed(step: MultiAgentStep, rows: ActingRows) -> dict[str, NDArray[Any]]:
    """Gather what the agents of these rows observe, [N, ...]."""
    if len(rows.parts) == 1:
        (part,) = rows.parts
        return {path: _flat(column)[part.places] for path, column in step.observations[part.group].items()}
    gathered: dict[str, NDArray[Any]] = {}
    for part in rows.parts:
        for path, column in step.observations[part.group].items():
            if path not in gathered:
                gathered[path] = np.empty((len(rows.slots), *column.shape[2:]), column.dtype)
            gathered[path][part.rows] = _flat(column)[part.places]
    return gathered


def _flat(column: NDArray[Any]) -> NDArray[Any]:
    return column.reshape(-1, *column.shape[2:])
