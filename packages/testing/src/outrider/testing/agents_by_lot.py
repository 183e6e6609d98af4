"""Agents that act, end, join and fail by lot, and a runner whose policies say what they observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from outrider.envrunner.agents.multi_agent_vector import AgentGroup, LastObservations, MultiAgentStep
from outrider.envrunner.environments.spaces import space_from_gymnasium
from outrider.envrunner.policies.function_mapping import FunctionMapping
from outrider.envrunner.policies.policy_entry import PolicyEntry
from outrider.envrunner.policies.policy_mapping import Episode
from outrider.envrunner.sampling.multi_agent_runner import MultiAgentRunner
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.wire import Columns, Fragment, TensorSpec, Weights, action_heads

Flags: TypeAlias = NDArray[np.bool_]

AGENTS = ("red_0", "red_1", "blue_0")
GROUPS = (
    AgentGroup(
        slots=np.array([0, 1]),
        observation_space=gym.spaces.Box(-np.inf, np.inf, (3,), np.float32),
        action_space=gym.spaces.Discrete(4),
    ),
    AgentGroup(
        slots=np.array([2]),
        observation_space=gym.spaces.Box(-np.inf, np.inf, (2,), np.float64),
        action_space=gym.spaces.Box(-1, 1, (1,), np.float32),
    ),
)


STATE = gym.spaces.Box(0, 1, (2,), np.float32)


@dataclass
class Lottery:
    """A vector in which agents act, end, join and fail by lot; it remembers all that it showed."""

    num_envs: int = 3
    seed: int = 0
    acts: float = 0.6
    ends: float = 0.1
    fails: float = 0.0
    agents: Sequence[str] = AGENTS
    groups: Sequence[AgentGroup] = GROUPS
    state_space: gym.spaces.Box | None = None

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.shown: list[MultiAgentStep] = []
        self.taken: list[Any] = []
        self.closed = False

    def reset(self, seeds: Sequence[int]) -> MultiAgentStep:
        assert len(seeds) == self.num_envs
        none = np.zeros((self.num_envs, len(self.agents)), np.bool_)
        self.taking_part = none.copy()
        return self.show(none, none, none[:, 0], np.zeros(none.shape, np.float32), None)

    def step(self, actions: Sequence[Mapping[str, NDArray[Any]]]) -> MultiAgentStep:
        self.taken.append([{path: column.copy() for path, column in group.items()} for group in actions])
        size = (self.num_envs, len(self.agents))
        rng = self.rng
        failed = rng.random(self.num_envs) < self.fails
        over = (rng.random(self.num_envs) < self.ends) & ~failed
        ends = (rng.random(size) < self.ends) | over[:, None]
        ends &= self.taking_part & ~failed[:, None]
        terminated = ends & (rng.random(size) < 0.5)
        truncated = ends & (~terminated | (rng.random(size) < 0.2))
        self.taking_part[ends] = False
        self.taking_part[over | failed] = False
        rewards = rng.integers(-4, 5, size).astype(np.float32)
        return self.show(terminated, truncated, over, rewards, failed if self.fails else None)

    def show(
        self,
        terminated: Flags,
        truncated: Flags,
        over: Flags,
        rewards: NDArray[np.float32],
        failed: Flags | None,
    ) -> MultiAgentStep:
        size = (self.num_envs, len(self.agents))
        acting = self.rng.random(size) < self.acts
        self.taking_part |= acting
        last = []
        for group in self.groups:
            environments, members = np.nonzero(truncated[:, group.slots])
            last.append(
                LastObservations(
                    environments=environments, members=members, observations=self.draw(group, len(members))
                )
            )
        step = MultiAgentStep(
            observations=[
                {
                    path: column.reshape(self.num_envs, len(group.slots), -1)
                    for path, column in self.draw(group, self.num_envs * len(group.slots)).items()
                }
                for group in self.groups
            ],
            acting=acting,
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            over=over,
            last=last,
            states=self.rng.random((self.num_envs, 2), np.float32) if self.state_space else None,
            last_states=self.rng.random((int(over.sum()), 2), np.float32) if self.state_space else None,
            failed=failed,
        )
        self.shown.append(step)
        return replace(step, acting=step.acting.copy(), rewards=rewards.copy())

    def draw(self, group: AgentGroup, count: int) -> dict[str, NDArray[Any]]:
        space = group.observation_space
        return {"": self.rng.random((count, *(space.shape or ()))).astype(space.dtype)}

    def close(self) -> None:
        self.closed = True


class Echo:
    """A stack whose parameters say what was observed, by which policy; it may count its own steps."""

    def __init__(self, name: str, group: AgentGroup, *, has_memory: bool = False) -> None:
        self.name = name
        self.observation_space = space_from_gymnasium(group.observation_space)
        self.action_heads = action_heads(space_from_gymnasium(group.action_space))
        self.state_spec = {"count": TensorSpec(shape=(), dtype=np.dtype("f4"))} if has_memory else {}
        self.num_calls = 0

    def set_weights(self, weights: Weights) -> None:
        pass

    def forget(self) -> None:
        pass

    def reserve(self, num_policies: int) -> None:
        pass

    def drop(self, policies: NDArray[np.int32]) -> None:
        pass

    def act(
        self, observations: Columns, policy: NDArray[np.int32], state: Columns
    ) -> tuple[NDArray[Any], Columns]:
        self.num_calls += 1
        assert (np.diff(policy) >= 0).all()
        parameters = np.zeros((len(policy), self.action_heads[-1].stop), np.float32)
        parameters[:, 0] = observations[""][:, 0] + policy
        return parameters, {name: column + 1 for name, column in state.items()}


ENTRIES = [
    PolicyEntry(name=name, number=number, stack="blue" if name.startswith("blue") else "red")
    for number, name in enumerate(["red a", "blue a", "red b", "blue b", "red c"])
]
NUMBERS = {entry.name: entry.number for entry in ENTRIES}


def draw_a_policy(agent: str, episode: Episode) -> str:
    """Draw one of the agent's team."""
    names = [name for name in NUMBERS if name.startswith(agent.partition("_")[0])]
    return str(episode.rng.choice(names))


class Remembering:
    """A mapping that remembers what it said of each environment."""

    def __init__(self) -> None:
        self._mapping = FunctionMapping(draw_a_policy, AGENTS, NUMBERS)
        self.said: dict[int, list[NDArray[np.int32]]] = {}
        self.episodes: list[Episode] = []

    def assign(self, episode: Episode) -> NDArray[np.int32]:
        self.episodes.append(episode)
        policy = self._mapping.assign(episode)
        self.said.setdefault(episode.environment, []).append(policy)
        return policy


def weights(version: int) -> Weights:
    return Weights(version=version, fingerprint="", tensors={})


FIRST = 10


class Setting:
    """A runner on a lottery, with all that is needed to tell what happened."""

    def __init__(self, vector: Lottery, num_steps: int, **settings: Any) -> None:  # noqa: ANN401 - of the runner
        self.vector = vector
        self.num_steps = num_steps
        self.mapping = Remembering()
        self.stacks = [Echo("red", GROUPS[0], has_memory=True), Echo("blue", GROUPS[1])]
        self.runner = MultiAgentRunner(
            vector,
            self.stacks,
            self.mapping,
            ENTRIES,
            num_steps=num_steps,
            seed=7,
            first_environment=FIRST,
            settings=EnvRunnerSettings(record_action_parameters=True, max_env_restarts=10**6, **settings),
            has_central_critic=vector.state_space is not None,
        )

    def sample(self, version: int) -> list[Fragment]:
        """Return the parts of the next fragment."""
        self.runner.set_weights(weights(version))
        fragment = self.runner.sample()
        return [fragment, *fragment.others]
