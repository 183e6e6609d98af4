"""Steps environments with several agents and records fragments, one for each stack of policies.

Axes: E = environment copies, A = agent slots, S = slots of all copies (e * A + a).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.agents_error import ForgottenEndError
from outrider.envrunner.agents.multi_agent_vector import AgentGroup, MultiAgentStep, MultiAgentVector
from outrider.envrunner.agents.running_multi_agent import MakeVector, RunningMultiAgent
from outrider.envrunner.agents.slot_groups import SlotGroups
from outrider.envrunner.environments.closing import close_all
from outrider.envrunner.environments.environment_state import StatefulEnvironment
from outrider.envrunner.policies.acting_rows import ActingLayouts
from outrider.envrunner.policies.acting_stack import ActingStack
from outrider.envrunner.policies.acting_weights import ActingWeights
from outrider.envrunner.policies.agent_policies import AgentPolicies
from outrider.envrunner.policies.fetched_policies import FetchedPolicies
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.policy_fit import PolicyFit
from outrider.envrunner.policies.policy_mapping import PolicyMapping
from outrider.envrunner.policies.stack_actor import StackActor
from outrider.envrunner.sampling.action_arrays import ActionArrays
from outrider.envrunner.sampling.ends_told import require_ends, with_policy
from outrider.envrunner.sampling.episode_totals import EpisodeTotals
from outrider.envrunner.sampling.multi_agent_buffer import MultiAgentBuffer
from outrider.envrunner.sampling.multi_agent_fragment import (
    agent_episodes,
    chosen_episodes,
    joined,
    stack_fragment,
)
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.wire import Columns, Fragment, SamplingStatistics, Weights

_LOGGER = logging.getLogger("outrider.envrunner")
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
        self._agents = vector.agents
        self._slots = SlotGroups(vector.groups, vector.num_envs, len(vector.agents))
        self._layouts = ActingLayouts(self._slots)
        self._totals = EpisodeTotals(vector.num_envs, len(vector.agents))
        self._buffer = MultiAgentBuffer(self._slots, num_steps)
        self._actions = ActionArrays(vector)
        self._policies = AgentPolicies(
            mapping, vector.num_envs, len(vector.agents), seed=seed, first_environment=first_environment
        )
        self._step: MultiAgentStep | None = None
        self._weights = ActingWeights()
        self._actors: list[StackActor] = []
        self.set_policies(policies, stacks)

    @property
    def version(self) -> int | None:
        """Version of the weights that act; None before the first."""
        return self._weights.version

    @property
    def held(self) -> NDArray[np.int32]:
        """The policies whose weights it has, where it fetches those that play; ascending."""
        return self._weights.held

    def set_weights(self, weights: Weights) -> None:
        """Act with new weights from the next fragment on; a version not newer than the present is skipped.

        Raises ValueError where the weights fit other stacks.
        """
        self._weights.take(weights)

    def sample(self, *, explore: bool | None = None) -> Fragment:
        """Step every environment `num_steps` times and return what happened.

        `explore` overrides the setting. The fragment belongs to the caller. Raises
        EnvironmentsFailedError where an environment fails again and again.
        """
        if self._weights.version is None:
            raise RuntimeError("the runner has no weights yet; call set_weights before sample")
        start = perf_counter()
        step = self._reset() if self._step is None else self._step
        self._step = None  # an error or Ctrl-C within the fragment means new episodes
        self._weights.play(self._policies.policy_S, self._next_policies)
        num_episodes_E = self._policies.num_episodes_E.copy()
        stack_S = self._policies.stacks()
        versions_S = self._weights.versions(self._policies.policy_S)
        self._buffer.begin(step.acting, self._policies.policy_S, stack_S, versions_S)
        self._layouts.assign(self._policies.policy_S, stack_S)
        for actor in self._actors:
            actor.begin(self._num_steps)
        explore = self._settings.explore if explore is None else explore
        step, environment_s, policy_s = self._collect(step, explore=explore)
        self._step = step
        return self._fragment(step, num_episodes_E, start, environment_s, policy_s)

    def set_policies(self, policies: Sequence[PolicyEntry], stacks: Sequence[ActingStack]) -> None:
        """Act with these policies from the next fragment on; weights of new ones have to be set before.

        Stacks that were here are known by their names and go on. Where a policy plays that is gone, all
        copies begin new episodes, and rows that are open are dropped. Raises ValueError for a stack that
        fits no agent.
        """
        fit = PolicyFit(self._agents, self._slots.groups, stacks, policies)
        here = {actor.stack.name: actor for actor in self._actors}
        actors = []
        for index, stack in enumerate(stacks):
            actor = here.get(stack.name) or self._actor(stack, fit.groups_of(index))
            actor.stack = stack
            actors.append(actor)
        self._actors = actors
        self._has_memory = any(actor.state for actor in actors)
        self._weights.act_with(policies, stacks)
        self._buffer.stacks = [actor.rows for actor in actors]
        self._policies.allow(fit)
        plays = self._policies.policy_S
        if self._step is not None and not np.isin(plays, [one.number for one in policies]).all():
            self._step = None

    def fetch_policies(self, fetched: FetchedPolicies) -> None:
        """Hold no more weights than these, and fetch those of policies that play; before any are set."""
        self._weights.fetch(fetched)

    def require_fit(self, policy_A: NDArray[np.int32]) -> None:
        """Raise ValueError unless each agent [A] is played by a policy that there is and that fits it."""
        self._policies.fit.require(policy_A)

    def set_mapping(self, mapping: PolicyMapping) -> None:
        """Ask another mapping for episodes that begin from now on."""
        self._policies.ask(mapping)

    def want_weights(self) -> None:
        """Wait for weights of whatever version before the next fragment; policies keep what is as new."""
        self._weights.version = None

    def get_state(self) -> dict[str, Any]:
        """Return a tree of what the next fragment depends on, weights excepted.

        It holds the environments' own state where their vector is a `StatefulEnvironment`.
        """
        step, vector = self._step, self._running.vector
        environment = None
        if step is not None and isinstance(vector, StatefulEnvironment):
            environment = vector.get_state()
        state: dict[str, Any] = {
            "samplers": [actor.sampler.get_state() for actor in self._actors],
            "incarnation": self._running.incarnation,
            "num_seedings": self._running.num_seedings,
            "num_episodes": self._policies.num_episodes_E.copy(),
            "environment": environment,
        }
        if environment is not None:
            assert step is not None
            state["observations"] = [_copies(columns) for columns in step.observations]
            state["acting"] = step.acting.copy()
            state["policy"] = self._policies.policy_S.copy()
            state["recurrent_state"] = [_copies(actor.state) for actor in self._actors]
            state["totals"] = self._totals.get_state()
            state["rows"] = self._buffer.get_state(self._policies.stacks())
        return state

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned in a runner made with the same arguments.

        Weights have to be set again, of whatever version. Where the environments' state is missing,
        their episodes start afresh, and the log says so.
        """
        self._step = None
        self._weights.begin_anew()
        for actor, saved in zip(self._actors, state["samplers"], strict=True):
            actor.sampler.set_state(saved)
        self._running.incarnation = state["incarnation"]
        self._running.num_seedings = state["num_seedings"]
        self._policies.num_episodes_E[:] = state["num_episodes"]
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
        self._policies.resume(np.array(state["policy"], np.int32))
        self._totals.set_state(state["totals"])
        self._buffer.set_state(state["rows"])
        for actor, saved in zip(self._actors, state["recurrent_state"], strict=True):
            for name, column in actor.state.items():
                column[...] = saved[name]
        self._step = replace(
            step,
            observations=[_copies(columns) for columns in state["observations"]],
            acting=np.array(state["acting"], np.bool_),
        )

    def close(self) -> None:
        """Close the environments."""
        close_all(self._running.vector)

    def _collect(self, step: MultiAgentStep, *, explore: bool) -> tuple[MultiAgentStep, float, float]:
        """Fill the buffer; return the last step, and the seconds of environments and policies."""
        environment_s = policy_s = 0.0
        acting_S = self._buffer.planes.acting_TS[0]
        for number in range(self._num_steps):
            started = perf_counter()
            for actor, rows in zip(self._actors, self._layouts.rows(acting_S), strict=False):
                if len(rows.slots):
                    actor.act(number, rows, step, acting_S, self._actions.flat, explore=explore)
            acted = perf_counter()
            try:
                step = self._running.step(self._actions.columns)
            except ForgottenEndError as error:
                raise with_policy(error, self._agents, self._policies) from error
            stepped = perf_counter()
            policy_s += acted - started
            environment_s += stepped - acted
            acting_S = self._buffer.record(step)
            self._begin_episodes(number, step)
        return step, environment_s, policy_s

    def _begin_episodes(self, number: int, step: MultiAgentStep) -> None:
        """Forget the episodes that ended, and ask who acts for whom in copies that were reset."""
        starts_E = step.over if step.failed is None else step.over | step.failed
        if self._has_memory:
            self._forget(number, starts_E)
        if not np.count_nonzero(starts_E):
            return
        self._running.restarts.forgive(step.over)
        changed = self._policies.begin_episodes(starts_E.nonzero()[0], self._running.incarnation)
        if len(changed):
            policy_S, stack_S = self._policies.policy_S, self._policies.stacks()
            if number + 1 < self._num_steps:  # otherwise `sample` does, when newer ones may have come
                self._weights.play(policy_S, self._next_policies)
            versions = self._weights.versions(policy_S[changed])
            self._buffer.change_policy(changed, policy_S[changed], stack_S[changed], versions)
            self._layouts.assign(policy_S, stack_S)

    def _next_policies(self) -> NDArray[np.int32]:
        return self._policies.next_policies(self._running.incarnation)

    def _forget(self, number: int, starts_E: Flags) -> None:
        """Begin with a new recurrent state where an agent's episode ended, or a copy's begins."""
        planes = self._buffer.planes
        new_S = planes.terminated_TS[number] | planes.truncated_TS[number]
        new_S |= np.repeat(starts_E, planes.num_agents)
        for actor in self._actors:
            actor.forget(new_S)

    def _reset(self) -> MultiAgentStep:
        """Start an episode in every environment."""
        step = self._running.start_episodes()
        self._totals.forget()
        self._buffer.start(step.states if self._has_central_critic else None)
        for actor in self._actors:
            actor.forget(np.arange(len(self._slots.group_S)))
        self._policies.begin_episodes(np.arange(self._slots.num_envs), self._running.incarnation)
        return step

    def _fragment(
        self,
        step: MultiAgentStep,
        num_episodes_E: NDArray[np.int64],
        start: float,
        environment_s: float,
        policy_s: float,
    ) -> Fragment:
        buffer, fit = self._buffer, self._policies.fit
        found = buffer.fold()
        require_ends(found, buffer.streams, self._agents, fit)
        by_agents, by_copies = self._totals.add(buffer.planes)
        episodes = agent_episodes(by_agents, buffer.streams, buffer.planes, num_episodes_E, self._first)
        stacks = fit.stacks_of(episodes.policy)
        restarts, self._running.restarts.num_restarts = self._running.restarts.num_restarts, 0
        parts = [
            stack_fragment(
                actor,
                found,
                part,
                step,
                chosen_episodes(episodes, stacks == index) if len(found.parts) > 1 else episodes,
                version=self._weights.version or 0,
                first_environment=self._first,
                record_action_parameters=self._settings.record_action_parameters,
            )
            for index, (actor, part) in enumerate(zip(self._actors, found.parts, strict=True))
        ]
        statistics = SamplingStatistics(
            environment_s=environment_s,
            policy_s=policy_s,
            total_s=perf_counter() - start,
            num_lost_rows=found.rows.num_lost,
            num_restarts=restarts,
        )
        return joined(parts, by_copies, statistics)

    def _actor(self, stack: ActingStack, groups: Mapping[int, AgentGroup]) -> StackActor:
        return StackActor(
            stack,
            groups,
            num_slots=len(self._slots.group_S),
            drawn_by=(self._seed, self._first),
            incarnation=self._running.incarnation,
        )


def _copies(columns: Columns) -> dict[str, NDArray[Any]]:
    return {name: np.array(column) for name, column in columns.items()}
