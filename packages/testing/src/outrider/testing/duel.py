"""Two agents with different spaces in an environment that ends by itself, and runners with policies for them.

plan = duel_plan()                       # red and blue, each with a policy of its own
runner = plan.make_runner(0, 0)
runner.set_weights(duel_weights(plan, version=0))
fragment = runner.sample()
"""

# ruff: noqa: ANN401 - actions and observations have no common type

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np

from outrider.envrunner.agents.agent_slots import wire_agents
from outrider.envrunner.agents.multi_agent_environment import multi_agent_spaces
from outrider.envrunner.environments.environment import EnvironmentSettings
from outrider.envrunner.fleet.multi_agent_plan import MultiAgentPlan, StackPlan
from outrider.envrunner.policies.matchups import Matchups
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.testing.stacked_mlp_graph import stacked_mlp_graph, stacked_mlp_weights
from outrider.wire import PolicyGraph, Weights, joint_fingerprint

_SIZES = {"red": 3, "blue": 2, "green": 2}
Step = tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]


class Duel:
    """A parallel environment as PettingZoo has them: `num_steps` steps to an episode, noise to look at."""

    def __init__(
        self,
        agents: Sequence[str] = ("red", "blue"),
        num_steps: int = 5,
        num_actions: int = 2,
        state_size: int = 0,
    ) -> None:
        """Without `state_size` there is no global state."""
        self.possible_agents, self.agents = list(agents), list(agents)
        self._num_steps, self._num_actions = num_steps, num_actions
        self._rng = np.random.default_rng()
        self._now = 0
        if state_size:
            self.state_space = gym.spaces.Box(-9, 9, (state_size,), np.float32)

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """Red sees more than the others."""
        return gym.spaces.Box(-9, 9, (_SIZES[agent],), np.float32)

    def action_space(self, agent: str) -> gym.Space[Any]:
        """All do the same."""
        return gym.spaces.Discrete(self._num_actions)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin an episode."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._now, self.agents = 0, list(self.possible_agents)
        return self._observe(), {}

    def step(self, actions: Mapping[str, Any]) -> Step:
        """Let both act; higher actions earn more."""
        self._now += 1
        is_over = self._now == self._num_steps
        observations, rewards = self._observe(), {agent: float(action) for agent, action in actions.items()}
        ends, goes_on = dict.fromkeys(actions, is_over), dict.fromkeys(actions, False)
        if is_over:
            self.agents = []
        return observations, rewards, ends, goes_on, {agent: {} for agent in actions}

    def state(self) -> Any:
        """Return the global state."""
        return np.full(self.state_space.shape, self._now, np.float32)

    def close(self) -> None:
        """Hold nothing."""

    def _observe(self) -> dict[str, Any]:
        return {agent: self._rng.random(_SIZES[agent], np.float32) for agent in self.possible_agents}


def duel_plan(environment: EnvironmentSettings | None = None, **changes: Any) -> MultiAgentPlan:
    """Return the plan of a run whose runners play duels, with two policies for blue."""
    environment = environment or EnvironmentSettings(Duel)
    settings = EnvRunnerSettings(num_envs_per_env_runner=2)
    agents = wire_agents(*multi_agent_spaces(environment, settings, None))
    stacks = [
        stacked_mlp_graph(group.observation_space, group.action_space, num_hidden=4)
        for group in agents.groups
    ]
    plan = MultiAgentPlan(
        environment=environment,
        settings=settings,
        agents=agents.names,
        stacks=tuple(
            StackPlan(name=name, policy=graph) for name, graph in zip(("reds", "blues"), stacks, strict=True)
        ),
        policies=(
            PolicyEntry(name="main", number=0, stack="reds"),
            PolicyEntry(name="old", number=1, stack="blues"),
            PolicyEntry(name="new", number=2, stack="blues"),
        ),
        mapping=Matchups([(1.0, {"red": "main", "blue": "old"}), (3.0, {"red": "main", "blue": "new"})]),
        num_steps=6,
        seed=7,
        environment_agents=agents,
    )
    return replace(plan, **changes)


def duel_weights(plan: MultiAgentPlan, *, version: int, more: Sequence[int] = ()) -> Weights:
    """Return weights of all policies, and of more with these numbers for blue."""
    parts = []
    for stack in plan.stacks:
        assert isinstance(stack.policy, PolicyGraph)
        numbers = [policy.number for policy in plan.policies if policy.stack == stack.name]
        numbers += more if stack.name == "blues" else []
        parts.append(stacked_mlp_weights(stack.policy, stack.name, numbers, version=version))
    stacks = tuple(stack for part in parts for stack in part.stacks)
    return replace(
        parts[0],
        fingerprint=joint_fingerprint(stacks),
        tensors={name: tensor for part in parts for name, tensor in part.tensors.items()},
        stacks=stacks,
    )
