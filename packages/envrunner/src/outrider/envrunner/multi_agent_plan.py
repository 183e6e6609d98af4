"""What runners of several agents are made of, as a message of plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from outrider.envrunner.acting_stack import ActingStack
from outrider.envrunner.environment import EnvironmentSettings
from outrider.envrunner.function_mapping import FunctionMapping
from outrider.envrunner.matchups import MatchupMapping, Matchups
from outrider.envrunner.multi_agent_runner import MultiAgentRunner
from outrider.envrunner.multi_agent_vector import MultiAgentVector
from outrider.envrunner.onnx_policy import OnnxPolicy
from outrider.envrunner.policy_entry import PolicyEntry
from outrider.envrunner.policy_mapping import Episode, PolicyMapping
from outrider.envrunner.runner_plan import OBEYED_BY_RUNNERS
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.envrunner.sole_policy import SolePolicy
from outrider.envrunner.stack_policy import StackPolicy
from outrider.envrunner.sync_vector import OnFailure
from outrider.envrunner.torch_policy import TorchPolicy, TorchRecipe, recipe_from_message
from outrider.envrunner.torch_stack_policy import TorchStackPolicy
from outrider.wire import (
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
    mapping: Matchups | Callable[[str, Episode], str]
    """Who acts for whom; a function is called for each agent when an episode begins."""
    num_steps: int
    """Vector steps of one fragment."""
    seed: int
    """Seed of the run."""
    first_runner: int = 0
    """Number within the run of the runner that `make_runner` knows as 0, where others are made elsewhere."""

    def make_runner(self, index: int, incarnation: int) -> MultiAgentRunner:
        """Make the runner number `index` of this plan, which was made `incarnation` times before in the run.

        Blocks while its environments are made. Raises ValueError where they cannot be made.
        """
        return MultiAgentRunner(
            self._make_vector,
            [self._acting(stack) for stack in self.stacks],
            self.policy_mapping(),
            self.policies,
            num_steps=self.num_steps,
            seed=self.seed,
            first_environment=(self.first_runner + index) * self.settings.num_envs_per_env_runner,
            incarnation=incarnation,
            settings=self.settings,
            has_central_critic=self.has_central_critic,
        )

    def policy_mapping(self) -> PolicyMapping:
        """Make what says who acts for whom. Raises ValueError for matchups that do not fit."""
        numbers = {policy.name: policy.number for policy in self.policies}
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
            "mapping": _mapping_message(self.mapping, dump),
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
        mapping = message["mapping"]
        return MultiAgentPlan(
            environment=decode_settings(EnvironmentSettings, message["environment"], load=load),
            settings=decode_settings(EnvRunnerSettings, message["settings"]),
            agents=tuple(message["agents"]),
            num_agents=message["num_agents"],
            has_central_critic=message["has_central_critic"],
            stacks=tuple(_stack_plan(stack, load) for stack in message["stacks"]),
            policies=tuple(
                PolicyEntry(name=name, number=number, stack=stack)
                for name, number, stack in message["policies"]
            ),
            mapping=(
                Matchups.from_message(mapping)
                if isinstance(mapping, list)
                else decode_settings(_Function, mapping, load=load).function
            ),
            num_steps=message["num_steps"],
            seed=message["seed"],
            first_runner=message["first_runner"],
        )

    def _make_vector(self, on_failure: OnFailure) -> MultiAgentVector:
        from outrider.envrunner.central_state import central_state
        from outrider.envrunner.multi_agent_environment import make_multi_agent_vector

        vector = make_multi_agent_vector(
            self.environment,
            self.settings,
            num_envs=self.settings.num_envs_per_env_runner,
            num_agents=self.num_agents,
            on_failure=on_failure,
        )
        return central_state(vector) if self.has_central_critic else vector

    def _acting(self, stack: StackPlan) -> ActingStack:
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


@dataclass(frozen=True, slots=True)
class _Function:
    """A mapping function, written as environments given as callables are."""

    function: Callable[[str, Episode], str]


def _mapping_message(
    mapping: Matchups | Callable[[str, Episode], str], dump: Callable[[Any], bytes] | None
) -> list[Any] | dict[str, Any]:
    if isinstance(mapping, Matchups):
        return mapping.to_message()
    return encode_settings(_Function(mapping), dump=dump)


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
