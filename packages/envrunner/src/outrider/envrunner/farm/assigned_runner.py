"""Makes the runner that an assignment asks for, in the environment that a farm has."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gymnasium.envs.registration import VectorizeMode

from outrider.envrunner.environments.environment import EnvironmentSettings, spaces_of
from outrider.envrunner.environments.environment_kind import SeveralAgentsError
from outrider.envrunner.environments.trial_step import one_line
from outrider.envrunner.farm.farm_runner import RefusedSettingsError
from outrider.envrunner.fleet.runner_plan import RunnerPlan
from outrider.envrunner.policies.fetched_policies import FetchPolicies
from outrider.envrunner.policies.policy_mapping import Episode
from outrider.envrunner.sampling.runner_protocol import SamplingRunner
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.wire import Agents, DictSpace, Hello, Space, decode_policy_graph, decode_settings
from outrider.wire.session import Assignment, Join, Team

if TYPE_CHECKING:
    from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
    from outrider.envrunner.policies.cast import Mapped

NO_SPACE = DictSpace(spaces={})


@dataclass(frozen=True, kw_only=True, slots=True)
class FarmEnvironment:
    """What a farm brings into a run; all else is the run's to say."""

    environment: EnvironmentSettings
    vectorize_mode: str | None = None
    """None: as the run has it."""
    policy_mapping_fn: Callable[[str, Episode], str] | None = None
    """Who acts for whom in a run that maps by a function."""

    def join(self, hello: Hello, *, name: str, session: str = "") -> Join:
        """Return how a runner called `name` introduces itself, which makes an environment and tries it.

        Raises ValueError where there is none to be made.
        """
        observation_space, action_space, agents = self._shown()
        needs = frozenset() if agents is None else frozenset({"multi_agent"})
        return Join(
            hello=replace(hello, required_capabilities=needs),
            name=name,
            observation_space=observation_space,
            action_space=action_space,
            session=session,
            agents=agents,
            maps_policies=self.policy_mapping_fn is not None,
        )

    def _shown(self) -> tuple[Space, Space, Agents | None]:
        """Return the spaces of one agent, or who the agents are where there are several."""
        mode = VectorizeMode(self.vectorize_mode or "sync")
        try:
            return *spaces_of(self.environment, mode), None
        except SeveralAgentsError:
            from outrider.envrunner.agents.agent_slots import wire_agents
            from outrider.envrunner.agents.multi_agent_environment import multi_agent_spaces

            settings = EnvRunnerSettings(gym_env_vectorize_mode=mode)
            return NO_SPACE, NO_SPACE, wire_agents(*multi_agent_spaces(self.environment, settings, None))

    def make_runner(
        self, assignment: Assignment, attached: memoryview, fetch: FetchPolicies | None = None
    ) -> SamplingRunner:
        """Make the runner that is asked for. Raises ValueError where that cannot be."""
        ours = {} if self.vectorize_mode is None else {"gym_env_vectorize_mode": self.vectorize_mode}
        try:
            settings = decode_settings(EnvRunnerSettings, {**settings_of(assignment), **ours})
        except ValueError as error:
            raise RefusedSettingsError(str(error)) from error
        if assignment.team is not None:
            plan = self._plan_of_team(assignment, assignment.team, settings, attached)
            return plan.make_runner(assignment.runner, assignment.incarnation, fetch)
        sole = RunnerPlan(
            environment=self.environment,
            settings=settings,
            policy=decode_policy_graph(attached),
            num_steps=assignment.num_steps,
            seed=assignment.seed,
        )
        return sole.make_runner(assignment.runner, assignment.incarnation)

    def _plan_of_team(
        self, assignment: Assignment, team: Team, settings: EnvRunnerSettings, attached: memoryview
    ) -> MultiAgentPlan:
        from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan
        from outrider.envrunner.gateway.team_message import read_team

        stacks, cast = read_team(attached)
        return MultiAgentPlan(
            environment=self.environment,
            settings=settings,
            agents=team.agents,
            num_agents=team.num_copies or None,
            has_central_critic=team.has_central_critic,
            stacks=stacks,
            policies=cast.policies,
            mapping=self._mapping(cast.mapping),
            num_steps=assignment.num_steps,
            seed=assignment.seed,
        )

    def _mapping(self, told: Mapped | None) -> Mapped:
        mapping = told or self.policy_mapping_fn
        if mapping is None:
            raise RefusedSettingsError(
                "the run maps agents to policies by a function, which this farm does not have; start it with "
                "--policy-mapping-fn module:function"
            )
        return mapping


def settings_of(assignment: Assignment) -> dict[str, Any]:
    """Return the settings that an assignment holds, by the names of `EnvRunnerSettings`."""
    return {
        **assignment.settings,
        "num_envs_per_env_runner": assignment.num_environments,
        "explore": assignment.explore,
        "record_action_parameters": assignment.record_action_parameters,
    }


def mapping_called(name: str | None) -> Callable[[str, Episode], str] | None:
    """Return the function that "module:function" stands for. Raises ValueError where there is none."""
    if name is None:
        return None
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:
        raise ValueError(f"--policy-mapping-fn {name} cannot be had: {one_line(error)}") from error
    if not callable(found):
        raise ValueError(
            f"--policy-mapping-fn {name} is {found!r}; name a function that takes an agent and an episode, "
            "and returns the name of a policy"
        )
    mapping: Callable[[str, Episode], str] = found
    return mapping
