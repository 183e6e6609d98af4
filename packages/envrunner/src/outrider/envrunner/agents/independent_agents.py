"""Independent copies of an environment of one agent as one environment of several agents.

Agent "0" lives in the first copy, "1" in the second, and so on; they never meet. They end one by one, and
the environment is over when all have ended: only then do all begin again.
"""

# ruff: noqa: ANN401 - trees have no type

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym

from outrider.envrunner.agents.agents_copy import AgentsTurn
from outrider.envrunner.environments.closing import close_all
from outrider.envrunner.environments.environment_state import restore_copy, save_copy
from outrider.envrunner.environments.quick_contains import quicken
from outrider.envrunner.environments.vector_environment import environment_seed


class IndependentAgents:
    """An `AgentsCopy` that steps its environments one after the other."""

    def __init__(self, make: Callable[[], gym.Env[Any, Any]], num_agents: int) -> None:
        """Make an environment for each agent."""
        self.state_space: gym.spaces.Box | None = None
        self.agents: Sequence[Any] = [str(index) for index in range(num_agents)]
        made: list[gym.Env[Any, Any]] = []
        try:
            made += (make() for _ in self.agents)
        except BaseException:
            close_all(*made)
            raise
        for env in made:
            quicken(env)
        self.envs: dict[Any, gym.Env[Any, Any]] = dict(zip(self.agents, made, strict=True))
        self._steps = {agent: env.step for agent, env in self.envs.items()}
        self._left: set[str] = set()

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """What each sees."""
        space: gym.Space[Any] = self.envs[agent].observation_space
        return space

    def action_space(self, agent: str) -> gym.Space[Any]:
        """What each does."""
        space: gym.Space[Any] = self.envs[agent].action_space
        return space

    def reset(self, seed: int | None) -> AgentsTurn:
        """Begin in all environments, each with a seed of its own."""
        self._left = set(self.agents)
        observations = {}
        for index, (agent, env) in enumerate(self.envs.items()):
            own = None if seed is None else environment_seed(seed, index)
            observations[agent], _ = env.reset(seed=own)
        return AgentsTurn(observations, list(self.agents))

    def step(self, actions: Mapping[str, Any]) -> AgentsTurn:
        """Step those environments that have not ended."""
        observations, rewards, terminated, truncated = {}, {}, {}, {}
        steps, left = self._steps, self._left
        for agent, action in actions.items():
            observations[agent], rewards[agent], end, cut, _ = steps[agent](action)
            if end or cut:
                terminated[agent], truncated[agent] = end, cut
                left.discard(agent)
        return AgentsTurn(observations, list(actions), rewards, terminated, truncated, over=not left)

    def state(self) -> None:
        """Have none."""

    def get_state(self) -> Any:
        """Save all environments, if all can."""
        saved = [save_copy(env) for env in self.envs.values()]
        return None if None in saved else {"envs": saved, "left": sorted(self._left)}

    def set_state(self, state: Any) -> None:
        """Restore them."""
        for env, saved in zip(self.envs.values(), state["envs"], strict=True):
            restore_copy(env, saved)
        self._left = set(state["left"])

    def close(self) -> None:
        """Close all environments."""
        close_all(*self.envs.values())
