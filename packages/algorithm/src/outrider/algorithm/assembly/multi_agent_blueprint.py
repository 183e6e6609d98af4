"""What runners and learners of several policies are made from, wherever they will be.

environment -> agents -> policies -> stacks
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from outrider.algorithm.policies.current_mapping import CurrentMapping, recorded_choice
from outrider.algorithm.policies.policy_book import PolicyBook
from outrider.algorithm.policies.policy_plan import (
    PlannedStack,
    agents_of_policies,
    default_mapping,
    groups_of_policies,
    plan_stacks,
    policy_names,
)
from outrider.algorithm.policies.stack_assembly import StackAssembly
from outrider.algorithm.settings.ignored import warn_of_policies
from outrider.algorithm.settings.run_settings import RunSettings
from outrider.envrunner.agents.central_state import central_space, central_state
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector, multi_agent_spaces
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.policies.matchups import Matchups
from outrider.learner.stacks.per_policy import MAY_DIFFER

if TYPE_CHECKING:
    import gymnasium as gym

    from outrider.envrunner.agents.multi_agent_vector import AgentGroup, MultiAgentVector
    from outrider.envrunner.environments.sync_vector import OnFailure
    from outrider.wire import Space

log = logging.getLogger("outrider.algorithm")
MANY = 1000
"""So many policies take seconds to make."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiAgentBlueprint:
    """Who there is, and how they are made."""

    settings: RunSettings
    seed: int
    book: PolicyBook
    mapping: CurrentMapping
    assemblies: Sequence[StackAssembly]
    groups: Sequence[AgentGroup]
    """Agents with equal spaces."""
    state_space: gym.spaces.Box | None
    """The environment's own global state, where it has one."""
    frozen: frozenset[int]
    """Numbers of the policies that do not train, those of a checkpoint where the run goes on from one."""
    num_steps: int
    """Vector steps of one fragment."""

    @property
    def num_env_steps_per_fragment(self) -> int:
        """Steps of all environment copies of a runner."""
        return self.num_steps * self.settings.env_runners.num_envs_per_env_runner

    def make_vector(self, num_envs: int, on_failure: OnFailure) -> MultiAgentVector:
        """Make copies of the environment to learn from, with a global state where critics are central."""
        is_central = self.settings.multi_agent.critic == "central"
        vector = self._copies(num_envs, on_failure, with_states=is_central)
        return central_state(vector) if is_central else vector

    def make_vector_to_act_in(self, num_envs: int, on_failure: OnFailure) -> MultiAgentVector:
        """Make copies of the environment in which nobody looks at a global state."""
        return self._copies(num_envs, on_failure, with_states=False)

    def _copies(self, num_envs: int, on_failure: OnFailure, *, with_states: bool) -> MultiAgentVector:
        return make_multi_agent_vector(
            self.settings.environment,
            self.settings.env_runners,
            num_envs=num_envs,
            num_agents=self.settings.multi_agent.num_agents,
            on_failure=on_failure,
            with_states=with_states,
        )


def plan_policies(
    settings: RunSettings, seed: int, recorded: Mapping[str, Any] | None, num_steps: int
) -> MultiAgentBlueprint:
    """Find out which policies there are, who acts for whom, and which can be computed together."""
    multi_agent = settings.multi_agent
    agents, groups, state_space = multi_agent_spaces(
        settings.environment,
        settings.env_runners,
        multi_agent.num_agents,
        is_central=multi_agent.critic == "central",
    )
    names = policy_names(multi_agent, agents)
    numbers = {policy: number for number, policy in enumerate(names)}
    chosen = multi_agent.policy_mapping_fn or Matchups(((1.0, default_mapping(names, agents)),))
    played = agents_of_policies(CurrentMapping(chosen, agents, numbers), len(agents), len(names))
    planned = plan_stacks(
        settings,
        names,
        groups_of_policies(names, agents, groups, played, multi_agent.agent_of),
        groups,
        per_policy=MAY_DIFFER,
        critic_space=_critic_space(settings, agents, groups, state_space),
        seed=seed,
    )
    if len(names) >= MANY:
        log.info("making %s policies", f"{len(names):,}")
    assemblies = [StackAssembly(stack, seed=seed) for stack in planned]
    warn_of_policies(_ignored(planned, assemblies), len(names))
    if recorded is None:
        book = PolicyBook.of_plan(planned, names, [assembly.is_stacked for assembly in assemblies])
        frozen = _at_rest(multi_agent.policies_to_train, numbers)
    else:
        book = PolicyBook.from_state(recorded["book"], num_planned=len(planned))
        chosen = recorded_choice(recorded["mapping"], chosen)
        frozen = frozenset(recorded["frozen"])
    mapping = CurrentMapping(chosen, agents, book.numbers)
    return MultiAgentBlueprint(
        settings=settings,
        seed=seed,
        book=book,
        mapping=mapping,
        assemblies=assemblies,
        groups=groups,
        state_space=state_space,
        frozen=frozen,
        num_steps=num_steps,
    )


def _ignored(planned: Sequence[PlannedStack], assemblies: Sequence[StackAssembly]) -> dict[str, list[str]]:
    """Return what there is to be said of settings, and of which policies."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for stack, assembly in zip(planned, assemblies, strict=True):
        of_all = stack.training.ignored()
        for name in stack.policies:
            own = stack.overrides.get(name)
            of_training = replace(stack.training, **own).ignored() if own else of_all
            for sentence in (*of_training, *assembly.warnings):
                found[sentence].append(name)
    return found


def _critic_space(
    settings: RunSettings,
    agents: Sequence[str],
    groups: Sequence[AgentGroup],
    state_space: Any,  # noqa: ANN401
) -> Space | None:
    if settings.multi_agent.critic == "own":
        return None
    return space_from_gymnasium(central_space(agents, groups) if state_space is None else state_space)


def _at_rest(trained: Sequence[str] | None, numbers: Mapping[str, int]) -> frozenset[int]:
    if trained is None:
        return frozenset()
    known = set(trained)
    return frozenset(number for name, number in numbers.items() if name not in known)
