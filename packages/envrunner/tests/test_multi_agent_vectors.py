"""Every kind of environment for several agents tells what happened, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from outrider.envrunner import EnvironmentSettings, EnvRunnerSettings
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector
from outrider.envrunner.agents.multi_agent_vector import MultiAgentVector
from outrider.testing.agent_script import Script
from outrider.testing.multi_agent_conformance import MultiAgentVectorConformance
from outrider.testing.story_environments import DictionaryStory, SimultaneousStory, TurnStory
from outrider.testing.story_vector import StoryVector


def nothing_may_fail(index: int, error: BaseException) -> int:
    raise AssertionError(f"copy {index} failed") from error


def make(kind: Callable[..., Any], scripts: Sequence[Script], num_envs: int, mode: str) -> MultiAgentVector:
    return make_multi_agent_vector(
        EnvironmentSettings(partial(kind, scripts)),
        EnvRunnerSettings(gym_env_vectorize_mode=mode),
        num_envs=num_envs,
        num_agents=None,
        on_failure=nothing_may_fail,
    )


class TestSimultaneous(MultiAgentVectorConformance):
    ways = ("at once",)

    def make_vector(self, scripts: Sequence[Script], num_envs: int) -> MultiAgentVector:
        return make(SimultaneousStory, scripts, num_envs, "sync")


class TestTurns(MultiAgentVectorConformance):
    ways = ("in turns",)
    tells_rewards_at_turns = True

    def make_vector(self, scripts: Sequence[Script], num_envs: int) -> MultiAgentVector:
        return make(TurnStory, scripts, num_envs, "sync")


class TestDictionaries(MultiAgentVectorConformance):
    def make_vector(self, scripts: Sequence[Script], num_envs: int) -> MultiAgentVector:
        return make(DictionaryStory, scripts, num_envs, "sync")


class TestNative(MultiAgentVectorConformance):
    def make_vector(self, scripts: Sequence[Script], num_envs: int) -> MultiAgentVector:
        return make(StoryVector, scripts, num_envs, "vector_entry_point")
