"""Steps environments with several agents and records fragments, one for each stack of policies.

Axes: E = environment copies, A = agent slots, S = slots of all copies (e * A + a), G = slots of a group,
N = rows of a stack.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.acting_rows import ActingLayouts, ActingRows
from outrider.envrunner.acting_stack import ActingStack
from outrider.envrunner.action_sampler import ActionSampler
from outrider.envrunner.agent_episodes import EpisodeTotals
from outrider.envrunner.agents_error import AgentsError, ForgottenEndError
from outrider.envrunner.closing import close_all
from outrider.envrunner.environment_state import StatefulEnvironment
from outrider.envrunner.multi_agent_buffer import Followed, MultiAgentBuffer, StreamRows
from outrider.envrunner.multi_agent_vector import MultiAgentStep, MultiAgentVector
from outrider.envrunner.policy_entry import PolicyEntry
from outrider.envrunner.policy_fit import PolicyFit
from outrider.envrunner.policy_mapping import Episode, PolicyMapping
from outrider.envrunner.running_multi_agent import MakeVector, RunningMultiAgent
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.envrunner.spaces import space_from_gymnasium
from outrider.envrunner.stack_rows import StackRows
from outrider.wire import (
    AgentEpisodes,
    Columns,
    EpisodeStatistics,
    Fragment,
    SamplingStatistics,
    Streams,
    Weights,
    leaf_dtype,
    leaf_shape,
    leaves,
)

_LOGGER = logging.getLogger("outrider.envrunner")
_ACTIONS, _EPISODES = 3, 4
"""What random numbers are for, so that no two draw the same ones."""
Flags = NDArray[np.bool_]


class MultiAgentRunner:
    """Samples with its own environment copies and all policies that play in them; one thread, no torch.

    Copies have the numbers `first_environment`, `first_environment` + 1, ... over all runners of a run;
    seeds derive from `seed`, these numbers and `incarnation` alone, and the same ones give the same
    fragments.
    """

    def __init__(
        self,
        vector: MultiAgentVector | MakeVector,
        stacks: Sequence[ActingStack],
        mapping: PolicyMapping,
        policies: Sequence[PolicyEntry],
        *,
        num_steps: int,
        seed: int,
        first_environment: int = 0,
        incarnation: int = 0,
        settings: EnvRunnerSettings,
        has_central_critic: bool = False,
    ) -> None:
        """Take over the vector, or make it; a fragment will have `num_steps` steps of it.

        A vector that is given as it is cannot be made anew where it fails as a whole. `incarnation` says
        how often this runner was made before in the run. With a central critic, fragments hold the global
        states, which the vector must have. Raises ValueError where the environments cannot be made.
        """
        self._running = RunningMultiAgent(
            vector if callable(vector) else None,
            given=None if callable(vector) else vector,
            max_env_restarts=settings.max_env_restarts,
            seed=seed,
            first_environment=first_environment,
            incarnation=incarnation,
        )
        vector = self._running.vector
        if has_central_critic and vector.state_space is None:
            close_all(vector)
            raise ValueError(
                "critics are central and the environment has no global state; wrap its "
                "vector in central_state"
            )
        self._has_central_critic = has_central_critic
        self._settings = settings
        self._num_steps = num_steps
        self._seed = seed
        self._first = first_environment
        self._num_envs, self._num_agents = vector.num_envs, len(vector.agents)
        num_slots = self._num_envs * self._num_agents
        self._agents, self._groups = vector.agents, vector.groups
        self._mapping = mapping
        self._layouts = ActingLayouts(vector.groups, self._num_envs, self._num_agents)
        self._totals = EpisodeTotals(self._num_envs, self._num_agents)
        self._buffer = MultiAgentBuffer([], self._num_envs, self._num_agents)
        self._actions = [
            {
                path: np.zeros((self._num_envs, len(group.slots), *leaf_shape(leaf)), leaf_dtype(leaf))
                for path, leaf in leaves(space_from_gymnasium(group.action_space)).items()
            }
            for group in vector.groups
        ]
        self._policy_S = np.full(num_slots, -1, np.int32)
        self._assigned: list[NDArray[np.int32] | None] = []
        """What the mapping said last of each copy: most mappings say the same array again."""
        self._num_episodes_E = np.zeros(self._num_envs, np.int64)
        self._step: MultiAgentStep | None = None
        self._version: int | None = None
        self._num_lost_rows = 0
        self._stacks: list[ActingStack] = []
        self._samplers: list[ActionSampler] = []
        self._converters: list[dict[int, ActionSampler]] = []
        self._recurrent_state: list[dict[str, NDArray[Any]]] = []
        self.set_policies(policies, stacks)

    @property
    def version(self) -> int | None:
        """Version of the weights that act; None before the first."""
        return self._version

    def set_weights(self, weights: Weights) -> None:
        """Act with new weights from the next fragment on; a version not newer than the present is skipped.

        Raises ValueError where the weights fit other stacks.
        """
        if self._version is not None and weights.version <= self._version:
            return
        for stack in self._stacks:
            stack.set_weights(weights)
        self._version = weights.version

    def sample(self, *, explore: bool | None = None) -> Fragment:
        """Step every environment `num_steps` times and return what happened.

        `explore` overrides the setting. The fragment belongs to the caller. Raises
        EnvironmentsFailedError where an environment fails again and again.
        """
        if self._version is None:
            raise RuntimeError("the runner has no weights yet; call set_weights before sample")
        start = perf_counter()
        step = self._reset() if self._step is None else self._step
        self._step = None  # an error or Ctrl-C within the fragment means new episodes
        stack_S = self._fit.stacks_of(self._policy_S)
        self._buffer.begin(self._policy_S, stack_S)
        self._layouts.assign(self._policy_S, stack_S, self._buffer.stream_S)
        explore = self._settings.explore if explore is None else explore
        environment_s = policy_s = 0.0
        acting_S = step.acting.reshape(-1).copy()
        for sampler in self._samplers:
            sampler.draw_noise(0, 0)  # what is left from the fragment before is not part of the state
        for number in range(self._num_steps):
            started = perf_counter()
            self._buffer.begin_step(acting_S)
            for index, rows in enumerate(self._layouts.rows(acting_S)):
                if len(rows.slots):
                    if not number:
                        self._samplers[index].draw_noise(self._num_steps, len(rows.slots))
                    self._act(index, rows, step, acting_S, explore=explore)
            acted = perf_counter()
            try:
                step = self._running.step(self._actions)
            except ForgottenEndError as error:
                raise self._with_policy(error) from error
            stepped = perf_counter()
            policy_s += acted - started
            environment_s += stepped - acted
            acting_S = self._record(step, acting_S)
        self._step = step
        return self._fragment(step, start, environment_s, policy_s)

    def set_policies(self, policies: Sequence[PolicyEntry], stacks: Sequence[ActingStack]) -> None:
        """Act with these policies from the next fragment on; weights of new ones have to be set before.

        Stacks that were here are known by their names and go on. Where a policy plays that is gone, all
        copies begin new episodes, and rows that are open are dropped. Raises ValueError for a stack that
        fits no agent.
        """
        self._fit = PolicyFit(self._agents, self._groups, stacks, policies)
        self._assigned = [None] * self._num_envs
        parts = zip(self._samplers, self._converters, self._recurrent_state, self._buffer.stacks, strict=True)
        here = {stack.name: part for stack, part in zip(self._stacks, parts, strict=True)}
        now = [here.get(stack.name) or self._parts_of(index, stack) for index, stack in enumerate(stacks)]
        self._stacks = list(stacks)
        self._samplers, self._converters, self._recurrent_state, self._buffer.stacks = map(
            list, zip(*now, strict=True)
        )
        if self._step is not None and not np.isin(self._policy_S, [one.number for one in policies]).all():
            self._step = None

    def require_fit(self, policy_A: NDArray[np.int32]) -> None:
        """Raise ValueError, naming agent and policy, unless these policies [A] can act for all agents."""
        self._fit.require(policy_A)

    def set_mapping(self, mapping: PolicyMapping) -> None:
        """Ask another mapping for episodes that begin from now on."""
        self._mapping = mapping
        self._assigned = [None] * self._num_envs

    def want_weights(self) -> None:
        """Wait for weights of whatever version before the next fragment; policies keep what is as new."""
        self._version = None

    def get_state(self) -> dict[str, Any]:
        """Return a tree of what the next fragment depends on, weights excepted.

        It holds the environments' own state where their vector is a `StatefulEnvironment`.
        """
        step, vector = self._step, self._running.vector
        environment = None
        if step is not None and isinstance(vector, StatefulEnvironment):
            environment = vector.get_state()
        state: dict[str, Any] = {
            "samplers": [sampler.get_state() for sampler in self._samplers],
            "incarnation": self._running.incarnation,
            "num_seedings": self._running.num_seedings,
            "num_episodes": self._num_episodes_E.copy(),
            "environment": environment,
        }
        if environment is not None:
            assert step is not None
            state["observations"] = [_copies(columns) for columns in step.observations]
            state["acting"] = step.acting.copy()
            state["policy"] = self._policy_S.copy()
            state["recurrent_state"] = [_copies(columns) for columns in self._recurrent_state]
            state["totals"] = self._totals.get_state()
            state["rows"] = self._buffer.get_state(self._fit.stacks_of(self._policy_S))
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned in a runner made with the same arguments.

        Weights have to be set again, of whatever version. Where the environments' state is missing,
        their episodes start afresh, and the log says so.
        """
        self._version = self._step = None
        for stack in self._stacks:
            stack.forget()
        for sampler, saved in zip(self._samplers, state["samplers"], strict=True):
            sampler.set_state(saved)
        self._running.incarnation = state["incarnation"]
        self._running.num_seedings = state["num_seedings"]
        self._num_episodes_E[:] = state["num_episodes"]
        if state["environment"] is None:
            if state["num_seedings"]:  # otherwise nothing had started yet
                _LOGGER.warning(
                    "the state of environments with several agents could not be saved: their episodes start "
                    "afresh after resuming"
                )
            return
        step = self._running.start_episodes()  # what was never reset may refuse to step
        self._running.num_seedings = state["num_seedings"]
        vector = self._running.vector
        assert isinstance(vector, StatefulEnvironment)
        vector.set_state(state["environment"])
        self._policy_S = np.array(state["policy"], np.int32)
        self._assigned = [None] * self._num_envs
        self._totals.set_state(state["totals"])
        self._buffer.set_state(state["rows"])
        for columns, saved in zip(self._recurrent_state, state["recurrent_state"], strict=True):
            for name, column in columns.items():
                column[...] = saved[name]
        self._step = replace(
            step,
            observations=[_copies(columns) for columns in state["observations"]],
            acting=np.array(state["acting"], np.bool_),
        )

    def close(self) -> None:
        """Close the environments."""
        close_all(self._running.vector)

    # -- one step -------------------------------------------------------------------------------------

    def _act(
        self, index: int, rows: ActingRows, step: MultiAgentStep, acting_S: Flags, *, explore: bool
    ) -> None:
        """Let the policies of one stack act, all in one call."""
        columns = self._buffer.stacks[index]
        places = self._buffer.act(index, rows, self._version or 0)
        observations = {path: column[places] for path, column in columns.observations.items()}
        for part in rows.parts:
            for path, shown in step.observations[part.group].items():
                observations[path][part.rows] = _flat(shown).take(part.places, 0)
        state = {name: slots[rows.slots] for name, slots in self._recurrent_state[index].items()}
        parameters, next_state = self._stacks[index].act(observations, rows.policy, state)
        sampler = self._samplers[index]
        actions = sampler.sample(parameters) if explore else sampler.most_likely(parameters)
        columns.parameters[places] = parameters
        for path, column in actions.items():
            columns.actions[path][places] = column
        for name, column in state.items():
            columns.state[name][places] = column
        acts = acting_S[rows.slots] if next_state else None
        for name, column in next_state.items():
            self._recurrent_state[index][name][rows.slots[acts]] = column[acts]
        for part in rows.parts:
            chosen = actions
            if len(rows.parts) > 1:
                chosen = {path: column[part.rows] for path, column in actions.items()}
            for path, column in self._converters[index][part.group].in_environment_units(chosen).items():
                _flat(self._actions[part.group][path])[part.places] = column

    def _record(self, step: MultiAgentStep, acted_S: Flags) -> Flags:
        """Note what a step brought; return who acts next [S]."""
        buffer, totals = self._buffer, self._totals
        rewards_S = np.asarray(step.rewards, np.float32).reshape(-1)
        acting_S = step.acting.reshape(-1).copy()
        terminated_S, truncated_S = step.terminated.reshape(-1), step.truncated.reshape(-1)
        totals.add(rewards_S, acted_S)
        if step.failed is not None:
            failed_S = np.repeat(step.failed, self._num_agents)
            self._num_lost_rows += buffer.fail(failed_S)
            totals.forget(np.flatnonzero(step.failed))
            terminated_S, truncated_S = terminated_S & ~failed_S, truncated_S & ~failed_S
        states = (step.states, step.last_states) if self._has_central_critic else (None, None)
        last_state_E = buffer.show(*states, step.over)
        if np.count_nonzero(truncated_S):
            for group, last in zip(self._groups, step.last, strict=True):
                slots = last.environments * self._num_agents + group.slots[last.members]
                buffer.keep_last(slots, last.observations, terminated_S, last_state_E)
        ended_S = terminated_S | truncated_S
        buffer.commit(ended_S | acting_S, rewards_S, terminated_S, truncated_S)
        if np.count_nonzero(ended_S):
            self._end(ended_S.nonzero()[0])
        starts_E = step.over if step.failed is None else step.over | step.failed
        if np.count_nonzero(starts_E):
            totals.end_environments(step.over.nonzero()[0])
            self._running.restarts.forgive(step.over)
            self._begin_episodes(starts_E.nonzero()[0])
        return acting_S

    def _with_policy(self, error: ForgottenEndError) -> AgentsError:
        """Name the policy that acted for an agent whose end the environment forgot."""
        agent = list(self._running.vector.agents).index(error.agent)
        policy = self._fit.name(int(self._policy_S[error.environment * self._num_agents + agent]))
        return AgentsError(f"{error}; policy {policy!r} acted for it")

    def _end(self, slots: NDArray[np.intp]) -> None:
        """End the episodes of some agents."""
        episodes = self._num_episodes_E[slots // self._num_agents] - 1
        self._totals.end_agents(slots, self._policy_S[slots], episodes)
        for state in self._recurrent_state:
            for column in state.values():
                column[slots] = 0

    def _begin_episodes(self, environments: NDArray[np.intp]) -> None:
        """Ask who acts for whom in copies that were reset."""
        before_EA = self._policy_S.reshape(self._num_envs, -1)
        policy_EA = before_EA
        for environment in environments.tolist():
            policy = self._mapping.assign(self._episode(environment))
            self._num_episodes_E[environment] += 1
            if policy is self._assigned[environment]:
                continue
            self._assigned[environment] = policy
            if not np.array_equal(policy, before_EA[environment]):
                self._fit.require(policy)
                policy_EA = policy_EA.copy() if policy_EA is before_EA else policy_EA
                policy_EA[environment] = policy
        for state in self._recurrent_state:
            for column in state.values():
                column.reshape(self._num_envs, self._num_agents, *column.shape[1:])[environments] = 0
        if policy_EA is not before_EA:
            self._change_policies(policy_EA.reshape(-1))

    def _change_policies(self, policy_S: NDArray[np.int32]) -> None:
        changed = np.flatnonzero(policy_S != self._policy_S)
        self._policy_S = policy_S
        stack_S = self._fit.stacks_of(policy_S)
        self._buffer.change_policy(changed, policy_S[changed], stack_S[changed])
        self._layouts.assign(policy_S, stack_S, self._buffer.stream_S)

    def _episode(self, environment: int) -> Episode:
        copy, number = self._first + environment, int(self._num_episodes_E[environment])
        incarnation = self._running.incarnation
        return Episode(
            id_=f"{copy}-{incarnation}-{number}",
            environment=copy,
            number=number,
            seed=(self._seed, copy, _EPISODES, incarnation, number),
        )

    def _reset(self) -> MultiAgentStep:
        """Start an episode in every environment."""
        step = self._running.start_episodes()
        everywhere = np.arange(self._num_envs)
        self._totals.forget(everywhere)
        self._buffer.start(step.states if self._has_central_critic else None)
        self._begin_episodes(everywhere)
        return step

    # -- the fragment ---------------------------------------------------------------------------------

    def _fragment(
        self, step: MultiAgentStep, start: float, environment_s: float, policy_s: float
    ) -> Fragment:
        agents = self._totals.take_agents(self._first)
        returns, lengths = self._totals.take_environments()
        lost_rows, self._num_lost_rows = self._num_lost_rows, 0
        restarts, self._running.restarts.num_restarts = self._running.restarts.num_restarts, 0
        parts = []
        for index, streams in enumerate(self._buffer.streams()):
            of_stack = self._fit.stacks_of(agents.policy) == index
            parts.append(self._part(index, streams, step, _chosen(agents, of_stack)))
        return replace(
            parts[0],
            episodes=replace(parts[0].episodes, returns=returns, lengths=lengths),
            statistics=SamplingStatistics(
                environment_s=environment_s,
                policy_s=policy_s,
                total_s=perf_counter() - start,
                num_lost_rows=lost_rows,
                num_restarts=restarts,
            ),
            others=tuple(part for part in parts[1:] if part.num_rows),
        )

    def _part(self, index: int, streams: StreamRows, step: MultiAgentStep, agents: AgentEpisodes) -> Fragment:
        """Put the fragment of one stack together."""
        buffer, columns = self._buffer, self._buffer.stacks[index]
        followed = buffer.followed(streams)
        places, rows = streams.places, streams.rows
        starts = np.cumsum(streams.lengths) - streams.lengths
        actions = {path: column.take(places, 0) for path, column in columns.actions.items()}
        parameters = columns.parameters.take(places, 0)
        versions = buffer.versions[rows]
        version = versions[:1] if len(rows) else np.array([self._version], np.int64)
        states = buffer.states(index, streams, followed)
        return Fragment(
            streams=Streams(
                lengths=streams.lengths,
                policy=streams.policy,
                environment=(self._first + streams.slots // self._num_agents).astype(np.int32),
                agent=(streams.slots % self._num_agents).astype(np.int32),
                state={name: column[places[starts]] for name, column in columns.state.items()},
            ),
            observations={path: column.take(places, 0) for path, column in columns.observations.items()},
            actions=actions,
            rewards=buffer.rewards[rows],
            terminated=buffer.terminated[rows],
            truncated=buffer.truncated[rows],
            next_rows=streams.next_rows.astype(np.int64),
            next_observations=self._next_observations(index, followed, step),
            action_log_probs=self._samplers[index].log_probs(parameters, actions),
            action_parameters=parameters if self._settings.record_action_parameters else None,
            policy_version=version if (versions == version).all() else versions,
            critic_states={} if states is None else {"": states[0]},
            critic_rows=None if states is None else states[1],
            next_critic_rows=None if states is None else states[2],
            episodes=EpisodeStatistics(
                returns=np.zeros(0, np.float32), lengths=np.zeros(0, np.int64), agents=agents
            ),
        )

    def _next_observations(self, index: int, followed: Followed, step: MultiAgentStep) -> Columns:
        """Return what followed: kept at the end of an episode, seen by an open row, or seen now."""
        kept = self._buffer.kept_observations(index)
        is_kept, is_open = followed.kept >= 0, followed.open_places >= 0
        is_now = ~(is_kept | is_open)
        now, groups = self._layouts.places(followed.slots)
        columns = {}
        for path, column in self._buffer.stacks[index].observations.items():
            following = np.empty((len(followed.slots), *column.shape[1:]), column.dtype)
            following[is_kept] = kept[path][followed.kept[is_kept]]
            following[is_open] = column[followed.open_places[is_open]]
            for group in np.unique(groups[is_now]).tolist():
                chosen = is_now & (groups == group)
                following[chosen] = _flat(step.observations[group][path])[now[chosen]]
            columns[path] = following
        return columns

    def _parts_of(self, index: int, stack: ActingStack) -> tuple[Any, ...]:
        """Make what belongs to one stack: sampler, converters by group, recurrent state, and rows."""
        num_slots = self._num_envs * self._num_agents
        converters = {
            number: ActionSampler(stack.action_heads, group.action_space, np.random.default_rng(0))
            for number, group in enumerate(self._groups)
            if self._fit.fits(index, number)
        }
        state = {
            name: np.zeros((num_slots, *spec.shape), spec.dtype) for name, spec in stack.state_spec.items()
        }
        rows = StackRows(stack.observation_space, stack.action_heads, stack.state_spec)
        return self._sampler(index, stack), converters, state, rows

    def _sampler(self, index: int, stack: ActingStack) -> ActionSampler:
        """Return what draws the actions of a stack; the name decides what it draws."""
        for number, group in enumerate(self._groups):
            if self._fit.fits(index, number):
                drawn_by = zlib.crc32(stack.name.encode())
                seeds = np.random.SeedSequence(
                    self._seed, spawn_key=(self._first, 0, _ACTIONS, self._running.incarnation, drawn_by)
                )
                return ActionSampler(stack.action_heads, group.action_space, np.random.default_rng(seeds))
        raise ValueError(
            f"the policies of stack {stack.name!r} fit no agent: {self._fit.why_not(index)}; leave them out, "
            "or make them from the spaces of an agent"
        )


def _copies(columns: Columns) -> dict[str, NDArray[Any]]:
    return {name: np.array(column) for name, column in columns.items()}


def _flat(column: NDArray[Any]) -> NDArray[Any]:
    """View [E, G, ...] as [E * G, ...]."""
    return column.reshape(-1, *column.shape[2:])


def _chosen(agents: AgentEpisodes, mask: Flags) -> AgentEpisodes:
    return AgentEpisodes(**{each.name: getattr(agents, each.name)[mask] for each in fields(AgentEpisodes)})
