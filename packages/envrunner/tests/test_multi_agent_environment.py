"""Settings make environments for several agents, or say in one sentence why they cannot."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from outrider.envrunner.agents.central_state import CentralState
from outrider.envrunner.agents.independent_vector import IndependentVector
from outrider.envrunner.agents.multi_agent_environment import make_multi_agent_vector, multi_agent_spaces
from outrider.envrunner.agents.multi_agent_vector import MultiAgentVector
from outrider.envrunner.agents.native_vector import NativeVector
from outrider.envrunner.agents.sync_agents import SyncAgents
from outrider.envrunner.environments.environment import (
    EnvironmentSettings,
    make_environment,
    spaces_of,
    spec_of,
)
from outrider.envrunner.settings import EnvRunnerSettings
from outrider.testing.agent_script import read_script
from outrider.testing.scripted import ScriptedEnvironment
from outrider.testing.story_environments import DictionaryStory, SimultaneousStory, TurnStory

SYNC, NATIVE = EnvRunnerSettings(), EnvRunnerSettings(gym_env_vectorize_mode="vector_entry_point")


class Hunt:
    """A parallel environment of a hunter and its prey, who sees more, for `length` steps."""

    state_space = gym.spaces.Box(0, 9, (2, 2), np.float32)

    def __init__(self, length: int = 3) -> None:
        self.possible_agents, self.agents, self.length, self.time = ["hunter", "prey"], [], length, 0

    def observation_space(self, agent: str) -> gym.Space[Any]:
        return gym.spaces.Box(0, 9, (1 if agent == "hunter" else 2,), np.float32)

    def action_space(self, agent: str) -> gym.Space[Any]:
        return gym.spaces.Discrete(2)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self.time = list(self.possible_agents), 0
        return self.seen(), {}

    def step(self, actions: Mapping[str, Any]) -> Any:
        self.time += 1
        cut = dict.fromkeys(self.agents, self.time == self.length)
        rewards = dict.fromkeys(self.agents, 1.0)
        self.agents = [] if self.time == self.length else self.agents
        return self.seen(), rewards, dict.fromkeys(cut, False), cut, {}

    def seen(self) -> dict[str, Any]:
        return {"hunter": np.full(1, self.time), "prey": np.full(2, self.time)}

    def state(self) -> Any:
        return np.full((2, 2), self.time)

    def close(self) -> None:
        pass


def rethrow(index: int, error: BaseException) -> int:
    raise error


def make(
    env: Any, settings: EnvRunnerSettings = SYNC, num_agents: int | None = None, **more: Any
) -> MultiAgentVector:
    environment = EnvironmentSettings(env, **more)
    return make_multi_agent_vector(
        environment, settings, num_envs=2, num_agents=num_agents, on_failure=rethrow
    )


def message_of(
    env: Any, settings: EnvRunnerSettings = SYNC, num_agents: int | None = None, **more: Any
) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the caller compares the message
        multi_agent_spaces(EnvironmentSettings(env, **more), settings, num_agents)
    return str(caught.value)


# --------------------------------------------------------------------------------------- what works


def test_a_callable_makes_copies_with_its_arguments() -> None:
    vector = make(Hunt, env_config={"length": 2})
    vector.reset([0, 1])
    nothing = [{"": np.zeros((2, 1), np.int64)}] * 2
    assert [vector.step(nothing).over.tolist() for _ in range(2)] == [[False, False], [True, True]]


def test_agents_groups_and_state_are_known_before_the_start() -> None:
    agents, groups, state_space = multi_agent_spaces(EnvironmentSettings(Hunt), SYNC, None)
    assert list(agents) == ["hunter", "prey"]
    assert [group.slots.tolist() for group in groups] == [[0], [1]]
    assert state_space is not None
    assert state_space.shape == (4,)


def test_a_state_is_not_asked_for_where_nobody_wants_it() -> None:
    environment = EnvironmentSettings(Hunt)
    vector = make_multi_agent_vector(
        environment, SYNC, num_envs=1, num_agents=None, on_failure=rethrow, with_states=False
    )
    assert vector.reset([0]).states is None


def test_a_callable_is_found_by_module_and_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "poles_of_mine.py").write_text(
        "from gymnasium.envs.classic_control import CartPoleEnv\n"
        "def poles(render_mode=None):\n    return CartPoleEnv(render_mode)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    env = make_environment(EnvironmentSettings("poles_of_mine:poles"), checked=False)
    assert type(env).__name__ == "CartPoleEnv"
    assert spec_of(EnvironmentSettings("poles_of_mine:poles")) is None
    with pytest.raises(ValueError, match="unknown environment 'pols'; did you mean poles_of_mine:poles"):
        make_environment(EnvironmentSettings("poles_of_mine:pols"), checked=False)
    assert sys.modules.pop("poles_of_mine")


def test_copies_of_an_environment_of_one_agent_are_counted_by_name() -> None:
    for settings, kind in ((SYNC, SyncAgents), (NATIVE, IndependentVector)):
        vector = make("CartPole-v1", settings, num_agents=3)
        assert isinstance(vector, kind)
        assert (list(vector.agents), vector.num_envs) == (["0", "1", "2"], 2)
        agents, groups, _ = multi_agent_spaces(EnvironmentSettings("CartPole-v1"), settings, 3)
        assert (list(agents), groups[0].slots.tolist()) == (["0", "1", "2"], [0, 1, 2])
        vector.close()


def make_natively(num_envs: int) -> Any:
    copies = gym.make_vec("CartPole-v1", 2 * num_envs, gym.VectorizeMode.VECTOR_ENTRY_POINT)
    return CentralState(IndependentVector(copies, 2))


def test_a_native_vector_for_several_agents_is_taken_as_it_is() -> None:
    vector = make(make_natively, NATIVE)
    assert isinstance(vector, NativeVector)
    assert isinstance(vector.vector, CentralState)
    assert vector.reset([0]).acting.shape == (2, 2)


def test_wrappers_go_around_environments_for_several_agents() -> None:
    def lengthen(env: Hunt) -> Hunt:
        env.length = 9
        return env

    vector = make(Hunt, wrappers=(lengthen,))
    assert isinstance(vector, SyncAgents)
    assert vector.copies[1].copy._env.length == 9  # type: ignore[attr-defined]


class RegisteredHunt(Hunt):
    pass


def test_a_registered_environment_for_several_agents_goes_without_wrappers_for_one() -> None:
    gym.register("Hunt-v7", RegisteredHunt, max_episode_steps=5, kwargs={"length": 4})  # type: ignore[arg-type]
    vector = make("Hunt-v7")
    assert isinstance(vector, SyncAgents)
    assert vector.copies[0].copy._env.length == 4  # type: ignore[attr-defined]
    del gym.registry["Hunt-v7"]


# --------------------------------------------------------------------------------- what does not work


class BrokenHunt(Hunt):
    def step(self, actions: Mapping[str, Any]) -> Any:
        raise OSError("no\nfield")


class FlatHunt(Hunt):
    def seen(self) -> dict[str, Any]:
        return {"hunter": np.zeros(1), "prey": np.zeros(1)}


class PricelessHunt(Hunt):
    def step(self, actions: Mapping[str, Any]) -> Any:
        return self.seen(), {"hunter": None}, {}, {}, {}


class ForgetfulHunt(Hunt):
    def step(self, actions: Mapping[str, Any]) -> Any:
        self.agents = ["hunter"]
        return self.seen(), {}, {}, {}, {}


class EmptyHunt(Hunt):
    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        return {}, {}


class ChattyHunt(Hunt):
    def observation_space(self, agent: str) -> gym.Space[Any]:
        return gym.spaces.Text(4) if agent == "prey" else super().observation_space(agent)


class StepwiseHunt(Hunt):
    def action_space(self, agent: str) -> gym.Space[Any]:
        return gym.spaces.Box(0, 4, (1,), np.int32) if agent == "prey" else super().action_space(agent)


class NarrowHunt(Hunt):
    def state(self) -> Any:
        return np.zeros(1)


class WordyHunt(Hunt):
    state_space = gym.spaces.Box(0, 9, (1,))

    def state(self) -> Any:
        return {"time": self.time}


class OpenHunt(Hunt):
    close: Any = None


class StatelessHunt(Hunt):
    state: Any = None


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        (ChattyHunt, "agent 'prey': TextSpace has no fixed array shape; policies take"),
        (StepwiseHunt, "agent 'prey': action space BoxSpace"),
        (
            NarrowHunt,
            "first reset: state() returned shape (1,), and state_space has (2, 2); return as many numbers",
        ),
        (WordyHunt, "state() returned {'time': 0} of type dict, and state_space has (1,); return as many"),
        (StatelessHunt, "first reset: there is a state_space, and state is None; give a method state()"),
        (BrokenHunt, "environment BrokenHunt failed at its first step: OSError: no field"),
        (
            FlatHunt,
            "FlatHunt failed at its first reset: agent 'prey' is shown an array of shape",
        ),
        (PricelessHunt, "failed at its first step: the reward of agent 'hunter' is None of type NoneType"),
        (ForgetfulHunt, "agent 'prey' vanished from environment copy 0"),
        (EmptyHunt, "nobody takes part after a reset"),
        ("CartPole-v1", "CartPole-v1 is an environment for one agent; ask for independent copies of it"),
        (functools.partial(ScriptedEnvironment), "--num-agents N"),
        (dict, "dict returned {}; it must return a PettingZoo environment"),
    ],
)
def test_what_is_wrong_with_an_environment_is_said_before_the_start(env: Any, sentence: str) -> None:
    assert sentence in message_of(env)


SCRIPTS = (
    read_script(
        """
        red_0  env
        a
        a      X
        """
    ),
)


@pytest.mark.parametrize("kind", [DictionaryStory, SimultaneousStory, TurnStory])
@pytest.mark.parametrize("state_space", [gym.spaces.Discrete(3), gym.spaces.Dict(x=gym.spaces.Box(0, 1))])
def test_a_global_state_that_central_critics_cannot_see_is_refused_where_they_are(
    kind: Any, state_space: gym.Space[Any]
) -> None:
    def make_story() -> Any:
        story = kind(SCRIPTS)
        story.state_space = state_space
        return story

    environment = EnvironmentSettings(make_story)
    with pytest.raises(ValueError, match="critic='central' sees a Box; return one array from") as caught:
        multi_agent_spaces(environment, SYNC, None, is_central=True)
    assert str(state_space) in str(caught.value)
    for is_central in (False, None):
        assert multi_agent_spaces(environment, SYNC, None, is_central=is_central)[2] is None


def test_a_state_that_fails_is_nobodys_concern_without_central_critics() -> None:
    assert multi_agent_spaces(EnvironmentSettings(NarrowHunt), SYNC, None, is_central=False)[2] is None


def test_num_agents_is_for_environments_of_one_agent() -> None:
    assert "Hunt has several agents; leave num_agents out" in message_of(Hunt, num_agents=2)
    assert "several agents; leave num_agents out" in message_of(make_natively, NATIVE, num_agents=2)


def test_a_native_vector_has_to_be_one() -> None:
    assert "CartPole-v1 is an environment for one agent" in message_of("CartPole-v1", NATIVE)
    assert "must return a MultiAgentVector" in message_of(lambda num_envs: Hunt(), NATIVE)
    assert "returned 9 copies where num_envs is 1" in message_of(lambda num_envs: make_natively(9), NATIVE)
    assert "use vectorize mode VECTOR_ENTRY_POINT" in message_of(lambda: make_natively(1))
    assert message_of(Hunt, NATIVE) == (
        "Hunt takes no num_envs, so that it makes one copy; use vectorize mode SYNC or ASYNC"
    )


def test_an_environment_for_several_agents_is_none_for_one() -> None:
    for env, mode in ((Hunt, "sync"), (make_natively, "vector_entry_point")):
        with pytest.raises(ValueError, match=r"several agents; .*--policies shared.* config.multi_agent"):
            spaces_of(EnvironmentSettings(env), mode)


def test_an_environment_for_several_agents_without_close_is_none_for_one_either() -> None:
    with pytest.raises(ValueError, match="OpenHunt is an environment for several agents"):
        spaces_of(EnvironmentSettings(OpenHunt), "sync")
