"""Puts the parts of an algorithm with several agents together, all of them in this process.

environment -> agents -> policies -> stacks -> learner of all stacks
                                           -> runner, which acts with all stacks
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from outrider.algorithm.algorithm import Algorithm
from outrider.algorithm.assembly.assembly import (
    join_cluster,
    let_farms_in,
    reward_threshold,
    use_threads,
    with_seed,
)
from outrider.algorithm.assembly.learner_assembly import check_one_place
from outrider.algorithm.assembly.multi_agent_checks import check_several_agents
from outrider.algorithm.assembly.player_assembly import farm_plan, make_async_players, make_players
from outrider.algorithm.assembly.policy_learners import (
    learner_here,
    make_async_policy_learners,
    make_policy_learners,
    policies_here,
)
from outrider.algorithm.assembly.resources import check_resources, is_asynchronous
from outrider.algorithm.assembly.runner_backend import with_backend
from outrider.algorithm.loops.asynchronous import AsynchronousLoop
from outrider.algorithm.loops.resting import RestingPolicies
from outrider.algorithm.loops.synchronous import SynchronousLoop
from outrider.algorithm.policies.current_mapping import CurrentMapping, recorded_choice
from outrider.algorithm.policies.multi_agent_evaluator import MultiAgentEvaluator
from outrider.algorithm.policies.policy_book import PolicyBook
from outrider.algorithm.policies.policy_plan import (
    agents_of_policies,
    default_mapping,
    groups_of_policies,
    plan_stacks,
    policy_names,
)
from outrider.algorithm.policies.several_policies import SeveralPolicies
from outrider.algorithm.policies.stack_assembly import StackAssembly
from outrider.algorithm.settings.run_settings import RunSettings
from outrider.envrunner.agents.central_state import central_space, central_state
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector, multi_agent_spaces
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.policies.matchups import Matchups
from outrider.learner import LocalLearnerGroup
from outrider.learner.stacks.per_policy import MAY_DIFFER
from outrider.learner.training.vtrace_settings import VTraceSettings

if TYPE_CHECKING:
    import gymnasium as gym

    from outrider.envrunner import AsyncRunnerFleet
    from outrider.envrunner.agents.multi_agent_vector import AgentGroup, MultiAgentVector
    from outrider.envrunner.environments.sync_vector import OnFailure
    from outrider.envrunner.gateway.gateway import Gateway
    from outrider.learner import AsyncLearnerGroup
    from outrider.wire import Space

R = TypeVar("R", bound=RunSettings)
log = logging.getLogger("outrider.algorithm")
MANY = 1000
"""So many policies take seconds to make."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiAgentBlueprint:
    """Who there is, and how they are made."""

    algorithm: str
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


def build_several(
    name: str,
    settings: RunSettings,
    *,
    run_name: str | None = None,
    recorded: Mapping[str, Any] | None = None,
    to_train: bool = True,
) -> Algorithm:
    """Make an algorithm that is ready to train, or only to evaluate.

    `recorded` is what a checkpoint says of the policies that there were. Raises ValueError in one sentence,
    and leaves nothing.
    """
    check_several_agents(settings)
    settings, seed = with_seed(with_backend(_with_own_learner(settings)))
    num_steps = check_resources(settings)
    use_threads(settings)
    blueprint = plan_policies(name, settings, seed, recorded, num_steps)
    gateway: Gateway | None = None
    with ExitStack() as parts:
        if to_train:
            # The gateway first: farms join while the cluster and the learners are made.
            if settings.env_runners.listen is not None:
                gateway = let_farms_in(settings.env_runners, farm_plan(blueprint), parts)
            cluster = join_cluster(settings, parts)
            run_name = run_name or f"{name}-{settings.environment.name}"
            loop: Any
            if is_asynchronous(settings):
                runners, players = make_async_players(blueprint, cluster, gateway, run_name=run_name)
                parts.enter_context(closing(runners))
                busy, policies = make_async_policy_learners(blueprint, cluster, run_name=run_name)
                loop = _asynchronous(settings, runners, parts.enter_context(closing(busy)))
            else:
                pool, players = make_players(blueprint, cluster, gateway, parts, run_name=run_name)
                learners, policies = make_policy_learners(blueprint, cluster, run_name=run_name)
                loop = SynchronousLoop(pool, parts.enter_context(closing(learners)))
            changes: dict[str, Any] = {
                "players": players,
                "republish": loop.republish,
                "samples_ahead": settings.env_runners.sample_ahead,
            }
        else:
            learner = learner_here(blueprint)
            loop, policies, changes = (
                RestingPolicies(learner),
                policies_here(blueprint, learner, LocalLearnerGroup(learner)),
                {},
            )
        several = SeveralPolicies(
            blueprint.book, blueprint.mapping, blueprint.assemblies, policies, **changes
        )
        return Algorithm(
            name,
            settings,
            loop=loop,
            policy=None,
            several=several,
            evaluator=_evaluator(blueprint),
            parts=parts.pop_all(),
            gateway=gateway,
            reward_threshold=_reward_threshold(settings),
            num_env_steps_per_fragment=blueprint.num_env_steps_per_fragment,
        )


def plan_policies(
    name: str, settings: RunSettings, seed: int, recorded: Mapping[str, Any] | None, num_steps: int
) -> MultiAgentBlueprint:
    """Find out which policies there are, who acts for whom, and which can be computed together."""
    multi_agent = settings.multi_agent
    agents, groups, state_space = multi_agent_spaces(
        settings.environment, settings.env_runners, multi_agent.num_agents
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
    if recorded is None:
        book = PolicyBook.of_plan(planned, names, [assembly.is_stacked for assembly in assemblies])
        frozen = _at_rest(multi_agent.policies_to_train, numbers)
    else:
        book = PolicyBook.from_state(recorded["book"], num_planned=len(planned))
        chosen = recorded_choice(recorded["mapping"], chosen)
        frozen = frozenset(recorded["frozen"])
    mapping = CurrentMapping(chosen, agents, book.numbers)
    return MultiAgentBlueprint(
        algorithm=name,
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


def make_vector(settings: RunSettings, num_envs: int, on_failure: OnFailure) -> MultiAgentVector:
    """Make copies of the environment, with a global state where critics are central."""
    vector = make_multi_agent_vector(
        settings.environment,
        settings.env_runners,
        num_envs=num_envs,
        num_agents=settings.multi_agent.num_agents,
        on_failure=on_failure,
    )
    return central_state(vector) if settings.multi_agent.critic == "central" else vector


def _asynchronous(
    settings: RunSettings, runners: AsyncRunnerFleet, learners: AsyncLearnerGroup
) -> AsynchronousLoop:
    training = settings.training
    assert isinstance(training, VTraceSettings)
    return AsynchronousLoop(
        runners,
        learners,
        min_time_s=training.min_time_s_per_iteration,
        patience_s=settings.learners.learner_timeout_s,
    )


def _with_own_learner(settings: R) -> R:
    """Return settings in which "auto" has become the one learner of this process.

    Raises ValueError where learners are asked for beside those of a learner service.
    """
    check_one_place(settings.learners)
    if settings.learners.num_learners != "auto":
        return settings
    return replace(settings, learners=replace(settings.learners, num_learners=0))


def _critic_space(
    settings: RunSettings,
    agents: Sequence[str],
    groups: Sequence[AgentGroup],
    state_space: Any,  # noqa: ANN401
) -> Space | None:
    if settings.multi_agent.critic == "own":
        return None
    return space_from_gymnasium(central_space(agents, groups) if state_space is None else state_space)


def _evaluator(blueprint: MultiAgentBlueprint) -> MultiAgentEvaluator:
    return MultiAgentEvaluator(
        blueprint.settings,
        partial(make_vector, blueprint.settings),
        lambda name, policies: blueprint.assemblies[policies[0].planned].acting(name, policies),
        blueprint.mapping,
        blueprint.book,
    )


def _at_rest(trained: Sequence[str] | None, numbers: Mapping[str, int]) -> frozenset[int]:
    if trained is None:
        return frozenset()
    known = set(trained)
    return frozenset(number for name, number in numbers.items() if name not in known)


def _reward_threshold(settings: RunSettings) -> float | None:
    """Return the sum over agents from which independent copies count as solved."""
    num_agents = settings.multi_agent.num_agents
    if num_agents is None:
        return None
    threshold = reward_threshold(settings.environment.env)
    return None if threshold is None else threshold * num_agents
