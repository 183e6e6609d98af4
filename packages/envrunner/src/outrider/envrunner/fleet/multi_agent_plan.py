"""What runners of several agents are made of, as a message of plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from outrider.envrunner.agents.multi_agent_vector import MultiAgentVector
from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.environments.sync_vector import OnFailure
from outrider.envrunner.fleet.planned_runner import PlannedRunner
from outrider.envrunner.fleet.runner_plan import OBEYED_BY_RUNNERS
from outrider.envrunner.policies.acting_stack import ActingStack
from outrider.envrunner.policies.cast import Cast, Mapped, mapping_message, mapping_of, policies_of
from outrider.envrunner.policies.fetched_policies import FetchedPolicies, FetchPolicies
from outrider.envrunner.policies.function_mapping import FunctionMapping
from outrider.envrunner.policies.held_policies import most_policies
from outrider.envrunner.policies.matchups import MatchupMapping, Matchups
from outrider.envrunner.policies.onnx_policy import OnnxPolicy
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.policy_mapping import PolicyMapping
from outrider.envrunner.policies.sole_policy import SolePolicy
from outrider.envrunner.policies.stack_policy import StackPolicy
from outrider.envrunner.policies.torch_policy import TorchPolicy, TorchRecipe, recipe_from_message
from outrider.envrunner.policies.torch_stack_policy import TorchStackPolicy
from outrider.envrunner.policies.weights_selection import WeightsSelection
from outrider.envrunner.sampling.multi_agent_runner import MultiAgentRunner
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.wire import (
    Agents,
    PolicyGraph,
    decode_policy_graph,
    decode_settings,
    encode_policy_graph,
    encode_settings,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class StackPlan:
    """How the policies of one stack act."""

    name: str
    policy: PolicyGraph | TorchRecipe
    """A recipe where policies cannot be exported, which needs torch where runners are."""
    is_stacked: bool = True
    """Whether many act in one call. What cannot be stacked is a stack of one policy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiAgentPlan:
    """Arguments of all the runners of a run; equal plans make equal runners, wherever they are."""

    environment: EnvironmentSettings
    settings: EnvRunnerSettings
    agents: tuple[str, ...]
    """Names of the environment's agents, by slot."""
    num_agents: int | None = None
    """Independent copies of an environment of one agent that make one for several; None where it has its
    own agents."""
    has_central_critic: bool = False
    """Whether fragments hold the global state; where the environment has none, what all agents observe."""
    stacks: tuple[StackPlan, ...]
    policies: tuple[PolicyEntry, ...]
    mapping: Mapped
    """Who acts for whom."""
    num_steps: int
    """Vector steps of one fragment."""
    seed: int
    """Seed of the run."""
    first_runner: int = 0
    """Number within the run of the runner that `make_runner` knows as 0, where others are made elsewhere."""
    load: Callable[[bytes], Any] | None = None
    """Reads the pickles of whoever made the plan, where this process takes any."""
    environment_agents: Agents | None = None
    """What the environment of a stranger has to show, where any may come; not in the message."""

    def make_runner(self, index: int, incarnation: int, fetch: FetchPolicies | None = None) -> PlannedRunner:
        """Make the runner number `index` of this plan, which was made `incarnation` times before in the run.

        With `fetch` it holds no more policies than it may, and fetches others when they play. Blocks while
        its environments are made. Raises ValueError where they cannot be made.
        """
        at_most = most_policies(self.settings, len(self.agents))
        acting = self.acting({})
        runner = MultiAgentRunner(
            self._make_vector,
            list(acting.values()),
            self.policy_mapping(),
            self.policies,
            num_steps=self.num_steps,
            seed=self.seed,
            first_environment=(self.first_runner + index) * self.settings.num_envs_per_env_runner,
            incarnation=incarnation,
            settings=self.settings,
            has_central_critic=self.has_central_critic,
        )
        if fetch is not None:
            fetched = FetchedPolicies(fetch, at_most)
            fetched.act_with(self.policies, list(acting.values()))
            runner.fetch_policies(fetched)
        return PlannedRunner(self, runner, acting, self.load)

    @property
    def is_exported(self) -> bool:
        """Whether all policies act without torch."""
        return all(isinstance(stack.policy, PolicyGraph) for stack in self.stacks)

    def recast(self, cast: Cast) -> MultiAgentPlan:
        """Return the plan with other policies and another mapping. Raises ValueError for unknown stacks."""
        planned = {stack.name: stack for stack in self.stacks}
        unknown = set(cast.stacks.values()) - planned.keys()
        if unknown:
            raise ValueError(f"the plan has no stack {min(unknown)!r}; it has {', '.join(planned)}")
        return replace(
            self,
            stacks=tuple(replace(planned[like], name=name) for name, like in cast.stacks.items()),
            policies=cast.policies,
            mapping=self.mapping if cast.mapping is None else cast.mapping,
        )

    def without_pickles(self) -> MultiAgentPlan:
        """Return the plan of runners that read no pickle from here on."""
        return replace(self, load=None)

    @property
    def numbers(self) -> dict[str, int]:
        """The number of each policy, by name."""
        return {policy.name: policy.number for policy in self.policies}

    def played(self) -> frozenset[int] | None:
        """Return the numbers of the policies that may act; None where only a function knows."""
        if not isinstance(self.mapping, Matchups):
            return None
        numbers = self.numbers
        return frozenset(numbers[name] for _, names in self.mapping.matchups for name in names.values())

    def weights_selection(self) -> WeightsSelection:
        """Make what chooses which weights its runners are sent."""
        at_most = most_policies(self.settings, len(self.agents))
        return WeightsSelection(self.played(), num_policies=len(self.policies), at_most=at_most)

    def policy_mapping(self) -> PolicyMapping:
        """Make what says who acts for whom. Raises ValueError for matchups that do not fit."""
        numbers = self.numbers
        if isinstance(self.mapping, Matchups):
            return MatchupMapping(self.mapping, self.agents, numbers)
        return FunctionMapping(self.mapping, self.agents, numbers)

    def to_message(self, dump: Callable[[Any], bytes] | None = None) -> dict[str, Any]:
        """Return plain values, without the settings that only whoever starts runners obeys.

        Raises ValueError for a mapping or an environment given as a callable unless `dump` pickles it.
        """
        settings = EnvRunnerSettings(**{name: getattr(self.settings, name) for name in OBEYED_BY_RUNNERS})
        return {
            "environment": encode_settings(self.environment, dump=dump),
            "settings": encode_settings(settings),
            "agents": list(self.agents),
            "num_agents": self.num_agents,
            "has_central_critic": self.has_central_critic,
            "stacks": [_stack_message(stack, dump) for stack in self.stacks],
            "policies": [[policy.name, policy.number, policy.stack] for policy in self.policies],
            "mapping": mapping_message(self.mapping, dump),
            "num_steps": self.num_steps,
            "seed": self.seed,
            "first_runner": self.first_runner,
        }

    @staticmethod
    def from_message(
        message: Mapping[str, Any], load: Callable[[bytes], Any] | None = None
    ) -> MultiAgentPlan:
        """Read what `to_message` returned, maybe of another release.

        Raises ValueError for settings that are not known here, and for pickles unless `load` is given.
        """
        return MultiAgentPlan(
            environment=decode_settings(EnvironmentSettings, message["environment"], load=load),
            settings=decode_settings(EnvRunnerSettings, message["settings"]),
            agents=tuple(message["agents"]),
            num_agents=message["num_agents"],
            has_central_critic=message["has_central_critic"],
            stacks=tuple(_stack_plan(stack, load) for stack in message["stacks"]),
            policies=policies_of(message["policies"]),
            mapping=mapping_of(message["mapping"], load),
            num_steps=message["num_steps"],
            seed=message["seed"],
            first_runner=message["first_runner"],
            load=load,
        )

    def _make_vector(self, on_failure: OnFailure) -> MultiAgentVector:
        from outrider.envrunner.agents.central_state import central_state
        from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector

        vector = make_multi_agent_vector(
            self.environment,
            self.settings,
            num_envs=self.settings.num_envs_per_env_runner,
            num_agents=self.num_agents,
            on_failure=on_failure,
            with_states=self.has_central_critic,
        )
        return central_state(vector) if self.has_central_critic else vector

    def acting(self, there: Mapping[str, ActingStack]) -> dict[str, ActingStack]:
        """Return what acts for each stack by name, and make what is not `there` yet."""
        return {stack.name: there.get(stack.name) or self._make_acting(stack) for stack in self.stacks}

    def _make_acting(self, stack: StackPlan) -> ActingStack:
        if stack.is_stacked:
            if isinstance(stack.policy, PolicyGraph):
                return StackPolicy(stack.policy, stack.name)
            return TorchStackPolicy(stack.policy, stack.name)
        (number,) = (policy.number for policy in self.policies if policy.stack == stack.name)
        if isinstance(stack.policy, PolicyGraph):
            graph = stack.policy
            return SolePolicy(
                OnnxPolicy(graph),
                stack.name,
                number,
                observation_space=graph.observation_space,
                action_heads=graph.action_heads,
            )
        module = stack.policy.build()
        return SolePolicy(
            TorchPolicy(module),
            stack.name,
            number,
            observation_space=module.observation_space,
            action_heads=module.action_heads,
        )


def _stack_message(stack: StackPlan, dump: Callable[[Any], bytes] | None) -> dict[str, Any]:
    message: dict[str, Any] = {"name": stack.name, "is_stacked": stack.is_stacked}
    if isinstance(stack.policy, PolicyGraph):
        message["policy_graph"] = encode_policy_graph(stack.policy).to_bytes()
    else:
        message["policy_recipe"] = stack.policy.to_message(dump)
    return message


def _stack_plan(message: Mapping[str, Any], load: Callable[[bytes], Any] | None) -> StackPlan:
    graph = message.get("policy_graph")
    policy = (
        recipe_from_message(message["policy_recipe"], load) if graph is None else decode_policy_graph(graph)
    )
    return StackPlan(name=message["name"], policy=policy, is_stacked=message["is_stacked"])
